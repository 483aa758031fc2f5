/* The frame of the purpose-written programs: a case is what happens before, inside and after the block.
 *
 * `PROGRAM CASE [ROUNDS]` calls block() ROUNDS times (2 unless said otherwise: the second block starts from
 * what the first left). block() is the function to off-load. What a case prints must be the same in every
 * native run. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const char *name;
  void (*before)(void);      /* once, on the device; may be NULL */
  void (*inside)(int round); /* in the block */
  void (*after)(void);       /* once, on the device; may be NULL */
  void (*drive)(int rounds); /* instead of the usual loop over block(); may be NULL */
} Case;

extern const Case cases[]; /* ends with a nameless one */

/* The block: runs the case's `inside`. Exported, never inlined. */
void block(int round);

/* Prints "name: ok" or "name: WRONG (line N)" and makes the exit status 1. */
void check_at(const char *name, bool right, int line);
#define check(name, condition) check_at((name), (condition), __LINE__)

/* Work that a compiler cannot remove: a hash after `steps` steps from `seed`. */
unsigned long churn(unsigned long seed, long steps);

#ifdef __cplusplus
}
#endif
