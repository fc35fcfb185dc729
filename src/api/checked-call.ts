import { type AnswerShape, expectShape } from './answer-shape.ts';
import type { ApiCall, Transport } from './transport.ts';

/** Calls, and holds the answer against its outermost shape. @throws SourceError */
export async function checkedCall<T>(transport: Transport, call: ApiCall, shape: AnswerShape): Promise<T> {
  const answer = await transport.json<unknown>(call);
  const what = `${call.method} ${call.path}`;
  return expectShape(answer, shape, { source: transport.name, what }) as T;
}
