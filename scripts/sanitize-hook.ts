/** For `node --import`: takes the addons of build/sanitize in place of those of build. */
import { registerHooks } from 'node:module';

registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier.replace(/\/build\/(\w+\.node)$/, '/build/sanitize/$1'), context),
});
