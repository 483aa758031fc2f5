/* Several layers made one that shows the same. */
#pragma once

#include "replica/generation_stack.h"

/* Fills the empty directory `into` with what the layers of `run`, which follow each other in a stack, have
 * together: linked, where they are on one file system and the inode can have another name, and copied
 * otherwise. `below` are the layers under them, maybe none: what hides something of theirs is kept, and only
 * that, since overlayfs lists the whiteouts of a directory that it need not merge. 0, or an errno. */
int generation_merge(const GenerationStack *run, const GenerationStack *below, int into);
