/* The files that a profile names: callgrind's lines "ob=(ID) PATH" and "cob=(ID) PATH" (its format's
 * "position name compression"). */
#pragma once

#include "profile/object.h"

typedef void (*ProfilerNamedFunc)(const ProfileObject *object, gpointer user);

/* Hands out what each of them is in the root of the caller, as far as it is an ELF file there, each path
 * once. What cannot be read is left out: who has the profile finds that it is missing. */
void profiler_named_objects(int profile, ProfilerNamedFunc take, gpointer user);
