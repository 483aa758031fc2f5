/* A device's tree that changes at random, and the steps that tell a clone of it. The steps are made change by
 * change, not by a scan: a clone host must do any order of them. */
#pragma once

#include <glib.h>

#include "replica/generation.h"

typedef struct {
  char *path; /* of the tree */
  int root;
  GRand *rand;
  guint64 hold;     /* the last number of a lifted thing */
  GPtrArray *steps; /* of GBytes, of the attempt that is being made */
  gboolean nodes;   /* device nodes and other owners, too: with root */
} Device;

/* An empty tree at `path`, which must not exist. */
Device *device_new(const char *path, guint32 seed);
void device_free(Device *device);

/* Makes `changes` random changes and returns the packed steps that tell of them, numbered from 1, the last a
 * COMMIT of `generation`. */
GPtrArray *device_change(Device *device, guint changes, guint64 generation);

/* The same with one content more that is wrong: its CLOSE has another hash, and the file follows whole. */
GPtrArray *device_change_wrongly(Device *device, guint changes, guint64 generation);

/* The steps that tell of one file as it is, and nothing else; a COMMIT of `generation` ends them. */
GPtrArray *device_tell_file(Device *device, const char *path, guint64 generation);

/* A copy of the tree, by cp, at `path`, where nothing is. */
void device_copy(const Device *device, const char *path);

/* What rsync finds different between two trees, of everything that it can compare; "" for nothing. */
char *device_differences(const char *from, const char *to);
