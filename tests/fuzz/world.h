/* A small tree that is written to on a hostile peer's word, and a directory beside it that must stay empty.
 */
#pragma once

typedef struct {
  char *base, *root_path;
  int root, state, outside, upper, lower;
} World;
extern World world;

void world_make(void); /* once; it goes at the process's end */
void world_fill(
    void); /* root: a, d/f, l -> ../outside, with known times; whatever the last input made of it is gone */
void world_check(void); /* aborts where something came to be outside, or stayed in state or upper */
