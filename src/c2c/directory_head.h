/* What a directory signs: its head, what it found, and what it registered. Each can be kept and shown to
 * others: two heads of one number with different chains are a proof that it shows different lists. */
#pragma once

#include "c2c/directory_chain.h"
#include "c2c/directory_message.h"

/* A head that was verified, with the bytes that prove it. */
typedef struct {
  IdentityPublic directory;
  DirectoryState state;
  gint64 time; /* seconds since 1970, by the directory's clock */
  DirectorySigned proof;
} DirectoryHead;
void directory_head_clear(DirectoryHead *head);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DirectoryHead, directory_head_clear)
void directory_head_copy(DirectoryHead *to, const DirectoryHead *from);

DirectorySigned directory_head_sign(const IdentityKey *key, const DirectoryState *state, gint64 time);

/* Form and signature. `directory` NULL: whoever it says it is. HOSTILE, DENIED. */
gboolean directory_head_verify(const DirectorySigned *proof, const IdentityPublic *directory,
                               DirectoryHead *head, GError **error);

/* What a directory found. Its records are not decoded here. */
typedef struct {
  IdentityPublic directory;
  char *name;
  gboolean by_origin, has_home;
  IdentityPublic origin, home;
  gint64 time;
  guint64 number;
  guint count;        /* > 0: a page of the list, after `origin` where that is there */
  GPtrArray *records; /* of GBytes */
} DirectoryFound;
void directory_found_free(DirectoryFound *found);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryFound, directory_found_free)

/* `question` is a LOOKUP or LIST; `records` (of GBytes) what there is; `number` a head that is not newer. */
DirectorySigned directory_found_sign(const IdentityKey *key, const DirectoryQuestion *question,
                                     const GPtrArray *records, guint64 number, gint64 time);

/* NULL: HOSTILE, DENIED; with `question`, too, where it answers another. */
DirectoryFound *directory_found_verify(const DirectorySigned *proof, const IdentityPublic *directory,
                                       const DirectoryQuestion *question, GError **error);

/* What a directory has registered (Clone2Clone section 4.1), for its peers. */
DirectorySigned directory_update_sign(const IdentityKey *key, guint64 number, GBytes *record);

/* The record (verified; its home is `directory`), the caller's. `directory` gets whose it is, `number` where
 * it is in that log; either may be NULL. */
Record *directory_update_verify(const DirectorySigned *proof, IdentityPublic *directory, guint64 *number,
                                GError **error);
