import { Config } from '@oclif/core/config';
import pjson from '../package.json' with { type: 'json' };

/** No plugins, so no hooks: a command that asks for them is answered at once. */
class LightConfig extends Config {
  override runHook: Config['runHook'] = () => Promise.resolve({ failures: [], successes: [] });
}

/**
 * The configuration that a single command needs. Loading it in full (plugins, themes, the shell) takes longer than the
 * commands themselves.
 */
export function lightConfig(): Config {
  const config = new LightConfig({ root: import.meta.dirname });
  config.bin = 'ciliate';
  config.name = pjson.name;
  config.version = pjson.version;
  config.root = import.meta.dirname;
  config.topicSeparator = ' ';
  config.pjson = pjson as unknown as Config['pjson'];
  config.userAgent = `ciliate/${pjson.version}`;
  return config;
}
