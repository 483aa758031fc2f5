/* Users, directories and what they sign, made from numbers: what a hostile party has to say true things with,
 * and things that are nearly true. Time stands still at WORLD_TIME + 10. */
#pragma once

#include "identity/record.h"
#include "input.h"

#define PEOPLE       6u
#define PEOPLE_HOMES 4u
#define PEOPLE_KINDS 64u

/* The key of a directory. */
const IdentityKey *people_home(guint home);

/* Which of the directories is the user's in records of that kind. */
guint people_home_of(guint user, guint kind);

/* A record of the user's, the same each time; kinds differ in serial, sequence, successions, the name, the
 * home, and in whether it still holds. */
Record *people_record(guint user, guint kind);
const IdentityPublic *people_origin(guint user);
const char *people_name(guint user);

/* A record of somebody's, mostly a good one. */
Record *people_any_record(Input *input);

/* Databases that are opened from now on are in memory, and gone when the last who has them open closes them.
 */
void people_files_in_memory(void);
