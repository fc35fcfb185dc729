import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Redactor } from '../../bugtool/redact.ts';

const SECRET = 'S3cr3tV4lue';
const SECRET_HEX = '5ec4e70123456789abcdef';

function redact(text: string, pieces = text.length): { text: string; count: number } {
  const redactor = new Redactor();
  let out = '';
  for (let at = 0; at < text.length; at += pieces) out += redactor.push(text.slice(at, at + pieces));
  out += redactor.end();
  return { text: out, count: redactor.count };
}

const WITH_SECRET = [
  `authorization: Bearer ${SECRET}`,
  `Authorization: Basic ${SECRET}`,
  `{"headers":{"Authorization":"Bearer ${SECRET}"}}`,
  `curl -H 'Authorization: ${SECRET}'`,
  `ETCD_PASSWORD=${SECRET}`,
  `{"etcd-password": "${SECRET}", "x": 1}`,
  `{"clientSecret":"a\\"${SECRET}"}`,
  `password: ${SECRET}`,
  `api_key=${SECRET}&x=1`,
  `etcd --password ${SECRET} --name x`,
  `etcd --root-token=${SECRET}`,
  `https://user:${SECRET}@etcd:2379/`,
  `/proc/sys/net/ipv4/tcp_fastopen_key = ${SECRET}`,
  `authorization: token ${SECRET}`,
  `Authorization: AWS4-HMAC-SHA256 Credential=x/y, Signature=${SECRET}`,
  `Cookie: session=${SECRET}; other=${SECRET}`,
  `password: "cut off ${SECRET}`,
  `mysql://root:p@${SECRET}@host/db`,
  `redis://:${SECRET}@host/0`,
  `{"tls.key":"${SECRET}"}`,
  `psk = ${SECRET}`,
  `-----BEGIN RSA PRIVATE KEY-----\n${SECRET}\n${SECRET}\n-----END RSA PRIVATE KEY-----\n`,
  `{"key":"-----BEGIN EC PRIVATE KEY-----\\n${SECRET}\\n-----END EC PRIVATE KEY-----\\n"}`,
  `-----BEGIN PRIVATE KEY-----\n${SECRET}\ncut off`,
  `etcd --password -${SECRET} --name x`,
  `etcd --password=--${SECRET} --name x`,
  `etcd --password "a ${SECRET}" --name x`,
  `enckey 0x${SECRET_HEX}`,
  `	auth-trunc hmac(sha256) 0x${SECRET_HEX} 128`,
  `	enc cbc(aes) 0x${SECRET_HEX}`,
  `	aead rfc4106(gcm(aes)) 0x${SECRET_HEX} 128`,
  `{"password":"one\n${SECRET}\n \\" ${SECRET}"}\n`,
  `password: "one\n${SECRET}\n${SECRET}"\nname: x`,
  `token: 'one\n${SECRET}'\nname: x`,
  `{"msg":"login with password=\\"${SECRET}\\" failed"}`,
  `{"msg":"{\\"password\\":\\"${SECRET}\\"}"}`,
];

const HARMLESS = [
  '{"id":1281,"labels":["k8s:class=deathstar"],"token-count":12,"secret":null}',
  '10.0.0.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE',
  'key: 16B  value: 48B  max_entries 65536',
  '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
  'tokens: 5',
  'https://host:2379/path',
];

describe('Redactor', () => {
  for (const text of WITH_SECRET) {
    it(`masks ${JSON.stringify(text.slice(0, 60))}, however it is cut`, () => {
      for (const pieces of [text.length, 1, 7]) {
        const { text: out, count } = redact(text, pieces);
        assert.ok(!out.includes(SECRET) && !out.includes(SECRET_HEX), out);
        assert.ok(out.includes('[redacted]'));
        assert.ok(count >= 1);
      }
    });
  }

  it('masks a password of digits, and nothing twice', () => {
    assert.deepEqual(redact('password=12345'), { text: 'password=[redacted]', count: 1 });
    assert.deepEqual(redact('--root-token=abc x'), { text: '--root-token=[redacted] x', count: 1 });
  });

  it('keeps JSON valid', () => {
    const text = `{"password":"${SECRET}","authorization":"Bearer ${SECRET}","n":1}`;
    assert.deepEqual(JSON.parse(redact(text).text), {
      password: '[redacted]',
      authorization: '[redacted]',
      n: 1,
    });
  });

  it('goes on after a value on several lines, however it is cut', () => {
    const text = `a: 1\npassword: "one\n${SECRET}\n"\nname: x\ntokens: 5\n`;
    for (const pieces of [text.length, 1, 7])
      assert.deepEqual(redact(text, pieces), {
        text: 'a: 1\npassword: "[redacted]"\nname: x\ntokens: 5\n',
        count: 1,
      });
    assert.equal(redact('--use-token --name x').text, '--use-token --name x');
  });

  it('leaves everything else alone', () => {
    for (const text of HARMLESS) assert.deepEqual(redact(text), { text, count: 0 });
  });

  it('takes linear time on one long line', () => {
    const word = 'token'.repeat(400_000);
    const began = performance.now();
    assert.equal(redact(word).text, word);
    const open = `token="x\n`.repeat(200_000);
    assert.ok(redact(open, 1 << 16).count > 0);
    assert.equal(redact('a'.repeat(3_000_000)).text.length, 3_000_000);
    assert.ok(performance.now() - began < 5_000);
  });
});
