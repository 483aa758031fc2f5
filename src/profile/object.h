/* A program or library of a profile, and whether the file on this machine is still that one. */
#pragma once

#include <glib.h>

#include "mirror/elf_facts.h"

typedef struct {
  char *path;     /* as the profiled program saw it */
  char *build_id; /* hexadecimal; NULL: the file has none, and what follows counts instead */
  guint64 size;   /* bytes */
  gint64 mtime_ns;
  char *hash; /* SHA-256 of the contents, hexadecimal; NULL where there is a build-id */
} ProfileObject;

/* Opens a file that a profile names, to read it: a regular one, since the name comes from another machine. -1
 * with an error. */
int profile_object_open(const char *path, GError **error);

/* What the file `path` is now. NULL with an error where it is no ELF file that can be read. */
ProfileObject *profile_object_read(const char *path, GError **error);

/* The same of a descriptor, which stays the caller's, and its facts. */
ProfileObject *profile_object_read_fd(int fd, const ElfFacts *facts, GError **error);

ProfileObject *profile_object_copy(const ProfileObject *object);
void profile_object_free(ProfileObject *object);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileObject, profile_object_free)

/* Whether both are one file's contents: the build-ids, or without one size and hash. Paths do not count. */
gboolean profile_object_same(const ProfileObject *left, const ProfileObject *right);

/* What a store knows it by: its build-id, or size and hash. To be freed. */
char *profile_object_key(const ProfileObject *object);

/* Whether the file at the object's path is still what it was: by its build-id. Without one, the same size and
 * time are believed, and another time has the contents hashed. FALSE where it is gone. */
gboolean profile_object_is_current(const ProfileObject *object);
