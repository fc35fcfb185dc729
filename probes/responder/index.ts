export {
  createResponder,
  type Responder,
  type ResponderCounters,
  type ResponderListen,
  type ResponderOptions,
} from './responder.ts';
