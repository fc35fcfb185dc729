import { ExitCode } from '../../src/base/errors.ts';
import { argumentError, checked, Errno, failed } from './errors.ts';
import { handleOf, Owned } from './handle.ts';
import type { Handle, Native } from './native.ts';
import type {
  AttachOptions,
  BpfLink,
  BpfLinkInfo,
  BpfProgInfo,
  BpfProgram,
  TestRunOptions,
  TestRunResult,
} from './types.ts';
import { BpfLinkType } from './types.ts';

/** How much longer than its input a packet may come out of a test run. */
const GROWTH_BYTES = 4096;
const MOST_INTERRUPTIONS = 1000;

export class KernelProgram extends Owned implements BpfProgram {
  readonly name: string;

  /** @param name as in the object file; the kernel keeps 15 characters of it */
  constructor(native: Native, handle: Handle, name?: string) {
    super(native, handle, 'program');
    this.name = name ?? (checked('read a program’s name', native.programName(handle)) as string);
  }

  get info(): BpfProgInfo {
    const numbers = checked(
      `describe program ${this.name}`,
      this.native.programInfo(this.handle),
    ) as readonly number[];
    const tag = checked(`describe program ${this.name}`, this.native.programTag(this.handle)) as Buffer;
    const [id = 0, type = 0, xlatedBytes = 0, jitedBytes = 0, verifiedInsns = 0] = numbers;
    const [, runTimeNs = 0, runCount = 0] = numbers.slice(5);
    return {
      id,
      type,
      name: this.name,
      tag: tag.toString('hex'),
      runTimeNs: BigInt(runTimeNs),
      runCount: BigInt(runCount),
      xlatedBytes,
      jitedBytes,
      verifiedInsns,
      mapIds: numbers.slice(8),
    };
  }

  testRun(options: TestRunOptions): TestRunResult {
    const { data, repeat = 1, ctx } = options;
    const operation = `test run of program ${this.name}`;
    if (!Number.isInteger(repeat) || repeat < 1 || repeat > 0x7fffffff)
      throw argumentError(operation, `${repeat} is not a count of repetitions`);
    const out = Buffer.allocUnsafe(data.length + GROWTH_BYTES);
    const ctxOut = ctx === undefined ? undefined : Buffer.alloc(ctx.length);
    const run = (): readonly number[] | number =>
      this.native.programTestRun(this.handle, data, repeat, ctx, out, ctxOut);
    let result = run();
    // The kernel gives a repeated run up at any signal, timers of the runtime among them, and says nothing of it.
    for (let again = 0; result === -Errno.EINTR && again < MOST_INTERRUPTIONS; again++) result = run();
    const numbers = checked(operation, result) as readonly number[];
    const [retval = 0, durationNs = 0, dataBytes = 0, ctxBytes = 0] = numbers;
    return { retval, durationNs, data: out.subarray(0, dataBytes), ctx: ctxOut?.subarray(0, ctxBytes) };
  }

  attach(options: AttachOptions): BpfLink {
    const { operation, target } = this.#attachment(options);
    const { attachType, netns, first } = options;
    const result = this.native.linkCreate(this.handle, target, attachType, netns, first);
    return new KernelLink(this.native, checked(operation, result) as Handle);
  }

  async attachAsync(options: AttachOptions): Promise<BpfLink> {
    const { operation, target } = this.#attachment(options);
    const { attachType, netns, first } = options;
    const result = await this.native.linkCreateAsync(this.handle, target, attachType, netns, first);
    return new KernelLink(this.native, checked(operation, result) as Handle);
  }

  #attachment(options: AttachOptions): { readonly operation: string; readonly target: number } {
    const target = options.ifindex ?? options.cgroupFd;
    const operation = `attach program ${this.name} to ${targetText(options)}`;
    if (target === undefined || (options.ifindex !== undefined && options.cgroupFd !== undefined))
      throw argumentError(operation, 'give either an ifindex or a cgroup descriptor');
    return { operation, target };
  }
}

function targetText(options: AttachOptions): string {
  const where = options.ifindex === undefined ? 'a cgroup' : `interface ${options.ifindex}`;
  const inside = options.netns === undefined ? '' : ` of ${options.netns}`;
  return `${where}${inside} (attach type ${options.attachType})`;
}

export class KernelLink extends Owned implements BpfLink {
  constructor(native: Native, handle: Handle) {
    super(native, handle, 'link');
  }

  get info(): BpfLinkInfo {
    const numbers = checked('describe a link', this.native.linkInfo(this.handle)) as readonly number[];
    const [id = 0, type = 0, progId = 0, ifindex = 0, attachType = 0] = numbers;
    if (type === BpfLinkType.tcx) return { id, type, progId, ifindex, attachType };
    return type === BpfLinkType.cgroup ? { id, type, progId, attachType } : { id, type, progId };
  }

  update(program: BpfProgram, old?: BpfProgram): void {
    const oldHandle = old === undefined ? undefined : handleOf(old, 'program');
    const status = this.native.linkUpdate(this.handle, handleOf(program, 'program'), oldHandle);
    if (status === 0) return;
    const operation = `put program ${program.name} on a link`;
    // EPERM with an expected program says that another one is attached, not that privilege is missing.
    throw old === undefined
      ? failed(operation, status)
      : failed(operation, status, {
          exitCode: ExitCode.systemFailed,
          hint: `the link may carry another program than ${old.name}`,
        });
  }

  detach(): void {
    checked('detach a link', this.native.linkDetach(this.handle));
  }
}
