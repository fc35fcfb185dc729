export {
  createResponder,
  type Responder,
  type ResponderCounters,
  type ResponderListen,
  type ResponderOptions,
  type ResponderRoute,
  type RouteAnswer,
} from './responder.ts';
