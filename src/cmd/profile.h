/* doppel profile: what its files share. */
#pragma once

#include "profile/graph.h"
#include "profiler/client.h"

typedef struct {
  char *clone; /* NULL: the local one */
  int seconds; /* of each run in the clone */
  int top;     /* functions that are printed */
  gboolean json;
  gboolean output; /* show what the program writes */
  gboolean as_is;  /* over the clone's files as they are */
  int observe;     /* functions that the engine looks at; 0: none */
  gboolean list;
  char *forget; /* a program; NULL: none */
} ProfileOptions;

/* What was learned of a program. */
typedef struct {
  const ProfileObject *program;
  const char *clone;
  const ProfilerRan *alone, *profiled;
  const ProfileGraph *graph; /* of this run */
  guint64 bytes;             /* of the profile that came */
  guint runs;                /* that are known now, this one too */
  GPtrArray *notes;          /* of char *: what is to be minded */
  const GPtrArray *seen;     /* of ProfilerSeen (profiler/seen.h); NULL: nothing was looked at */
} ProfileLearned;

/* ns that an instruction takes in the clone; 0: that cannot be told. */
double profile_cmd_speed(const ProfileLearned *learned);

/* Prints it. */
void profile_cmd_say(const ProfileLearned *learned, const ProfileOptions *options);

/* --list and --forget: the exit status. */
int profile_cmd_list(const ProfileOptions *options);
int profile_cmd_forget(const ProfileOptions *options);
