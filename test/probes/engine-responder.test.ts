import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';
import { HERE, PEER, WiredEngine } from '../support/wired-engine.ts';

const ECHO_PORT = 4240;
const ASKING_PORT = 50_123;
const HOP_LIMIT = 64;
const Flag = { wantsEcho: 1, echoed: 2 } as const;
type Change = (frame: Buffer) => void;

/** What is wrong with a probe: a change before it gets its lengths and sums, or one after. */
interface Form {
  readonly what: string;
  readonly before?: Change;
  readonly after?: (frame: Buffer) => Buffer;
  /** Whether the program counts it as refused; what is no probe at all it does not. */
  readonly refused: boolean;
}

for (const family of [4, 6] as const)
  describe(`echo responder over IPv${family}`, { skip: rootOrSkip() }, () => {
    const wired = new WiredEngine(`r${family}`);
    let template: Buffer;
    let sequence = 0;

    before(() => wired.setUp());
    after(() => wired.cleanUp());
    afterEach(() => wired.stop());

    async function serve(): Promise<void> {
      await wired.start('bpf', `echo${family}`);
      wired.engine.setPeers([PEER[family]], [HERE[family]]);
      template = await wired.probe();
    }

    /** What another node's prober asks with. */
    function request(change: Change = () => undefined, filling = 0): Buffer {
      const { frames } = wired;
      const { l4, field } = frames;
      const length = Buffer.concat([template, Buffer.alloc(filling)]);
      return frames.answer(length, (frame) => {
        frame.writeUInt16BE(ASKING_PORT, l4);
        frame.writeUInt16BE(ECHO_PORT, l4 + 2);
        frame.writeUInt8(Flag.wantsEcho, field.flags);
        frame.writeUInt32BE(frame.readUInt32BE(field.prober) ^ 0x5555, field.prober);
        frame.writeUInt32BE(++sequence, field.sequence);
        change(frame);
      });
    }

    /** Answers that came so far. */
    function echoes(): Buffer[] {
      const { l4 } = wired.frames;
      return wired.wire.received.filter(
        (frame) => frame.length > l4 + 4 && frame.readUInt16BE(l4) === ECHO_PORT,
      );
    }

    for (const filling of [0, 1, 900])
      it(`sends back what it got, no byte longer: ${filling} bytes behind the cookie`, async () => {
        await serve();
        const { frames } = wired;
        const { ip, field } = frames;
        const asked = request((frame) => frame.writeUInt8(9, family === 4 ? ip + 8 : ip + 7), filling);
        if (family === 6) asked.writeUIntBE(0x0b_cdef, ip + 1, 3);
        await wired.wire.send(asked);
        await until(() => echoes().length > 0);
        const [echo] = echoes();
        assert.ok(echo !== undefined);
        const expected = frames.answer(asked, (frame) => {
          frame.writeUInt8(HOP_LIMIT, family === 4 ? ip + 8 : ip + 7);
          echo.copy(frame, field.residence, field.residence, field.residence + 4);
        });
        assert.equal(echo.length, asked.length);
        assert.equal(echo.toString('hex'), expected.toString('hex'));
        assert.equal(wired.engine.self().echoesRefused, 0);
      });

    const flags = (value: number): Change => {
      return (frame) => frame.writeUInt8(value, wired.frames.field.flags);
    };
    const udpLength = (more: number): ((frame: Buffer) => Buffer) => {
      return (frame) => {
        const at = wired.frames.l4 + 4;
        frame.writeUInt16BE(frame.readUInt16BE(at) + more, at);
        return frame;
      };
    };
    const forms: readonly Form[] = [
      { what: 'that is an echo already', before: flags(Flag.wantsEcho | Flag.echoed), refused: true },
      { what: 'that wants none', before: flags(0), refused: true },
      { what: 'that is an echo only', before: flags(Flag.echoed), refused: true },
      { what: 'with flags that nobody knows', before: flags(Flag.wantsEcho | 0x80), refused: true },
      { what: 'whose UDP length is too long', after: udpLength(8), refused: true },
      { what: 'whose UDP length is too short', after: udpLength(-8), refused: true },
      {
        what: 'with bytes behind what its IP header tells',
        after: (frame) => Buffer.concat([frame, Buffer.alloc(6)]),
        refused: true,
      },
      {
        what: 'of an address that is no node',
        before: (frame) => frame.writeUInt8(0x67, wired.frames.sourceEnd),
        refused: true,
      },
      {
        what: 'to an address that is not ours',
        before: (frame) => frame.writeUInt8(0x77, wired.frames.l4 - 1),
        refused: false,
      },
      {
        what: 'without our mark',
        before: (frame) => frame.writeUInt8(0, wired.frames.cookie),
        refused: false,
      },
      {
        what: 'of another version',
        before: (frame) => frame.writeUInt8(2, wired.frames.field.version),
        refused: false,
      },
      {
        what: 'that is cut within its cookie',
        after: (frame) => wired.frames.seal(frame.subarray(0, wired.frames.cookie + 31)),
        refused: false,
      },
    ];

    for (const { what, before: change, after: finish = (frame: Buffer) => frame, refused } of forms)
      it(`sends nothing for a probe ${what}`, async () => {
        await serve();
        await wired.wire.send(finish(request(change)));
        const good = request();
        await wired.wire.send(good);
        const { field } = wired.frames;
        await until(() => echoes().length > 0);
        assert.deepEqual(
          echoes().map((frame) => frame.readUInt32BE(field.sequence)),
          [good.readUInt32BE(field.sequence)],
        );
        const { echoes: sent, echoesRefused } = wired.engine.self();
        assert.deepEqual([sent, echoesRefused], [1, refused ? 1 : 0]);
      });
  });
