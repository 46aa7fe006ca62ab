//! Linear memories, fiber stacks, guest access, module rewriting and the compiled-code cache.
