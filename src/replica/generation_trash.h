/* Trees that are to go, of any depth. */
#pragma once

/* Removes `name` in `base` (a file or a directory with all that is in it; nothing there is no error). Deep
 * trees are taken apart by moving their directories up into `base`, under names that begin with
 * GENERATION_TRASH: so neither descriptors nor the stack run out, and whoever finds such a name after a crash
 * removes it, too. 0, or an errno. */
#define GENERATION_TRASH "trash-"
int generation_trash_remove(int base, const char *name);

/* Removes what a killed generation_trash_remove() left in `base`. */
int generation_trash_sweep(int base);
