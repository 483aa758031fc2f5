/* What the engine calls a function, in one file of a profile: by address instead of by name.
 *
 * Functions are those of the file's symbol tables (mirror/symbols.h). Where no table but the dynamic one is
 * left, .eh_frame adds those that have no name (mirror/symbols_starts.h). */
#pragma once

#include "mirror/symbols.h"
#include "profile/object.h"

typedef struct {
  guint64 vaddr;  /* of the first byte, in the file, as in Symbol */
  guint64 size;   /* bytes, not 0 */
  guint64 offset; /* of the first byte in the file: what a plan names */
  char *name;     /* of the symbol; NULL: none */
} ProfilePlace;

typedef struct {
  ProfileObject *object;
  GArray *places; /* of ProfilePlace, by address, at most one per address */
} ProfileFile;

/* Reads the functions of an ELF file. NULL with an error. */
ProfileFile *profile_file_read(const char *path, GError **error);

/* A file whose functions are told by profile_file_add(), by address. Takes `object`. */
ProfileFile *profile_file_new(ProfileObject *object);
void profile_file_add(ProfileFile *file, guint64 vaddr, guint64 size, guint64 offset, const char *name);

void profile_file_free(ProfileFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileFile, profile_file_free)

/* The function that an address belongs to, or NULL. It lives as long as the file, unless functions are added.
 */
const ProfilePlace *profile_file_find(const ProfileFile *file, guint64 vaddr);
