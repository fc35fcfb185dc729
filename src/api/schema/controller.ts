import { bool, duration, int, list, type ModelOf, model, opt, str, timestamp } from './build.ts';

/** A thing that the agent does again and again, with how it went. */
export const ControllerStatus = model('ControllerStatus', {
  name: opt(str),
  uuid: opt(str),
  configuration: opt(
    model('ControllerConfiguration', {
      interval: opt(duration),
      'error-retry-base': opt(duration),
      'error-retry': opt(bool),
    }),
  ),
  status: opt(
    model('ControllerRunStatus', {
      'success-count': opt(int),
      'last-success-timestamp': opt(timestamp),
      'failure-count': opt(int),
      'last-failure-timestamp': opt(timestamp),
      'consecutive-failure-count': opt(int),
      'last-failure-msg': opt(str),
    }),
  ),
});
export type ControllerStatus = ModelOf<typeof ControllerStatus>;
export const ControllerStatuses = list(ControllerStatus, { title: 'ControllerStatuses' });
export type ControllerStatuses = ModelOf<typeof ControllerStatuses>;
