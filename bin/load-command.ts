import type { CommandClass, Registry } from './registry.ts';

/** Loads the class of a command. @throws RangeError when the registry has none of that id */
export async function loadCommand(id: string, registry: Registry): Promise<CommandClass> {
  const load = registry.get(id);
  if (load === undefined) throw new RangeError(`no command ${id}`);
  const { default: Class } = (await load()) as { readonly default: CommandClass };
  Class.id = id;
  return Class;
}
