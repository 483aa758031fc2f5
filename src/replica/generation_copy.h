/* Contents copied from file to file, their holes kept. */
#pragma once

#include "replica/facts.h"

/* Called for each piece of what is copied, in order; `bytes` NULL: zeros. */
typedef void (*GenerationCopied)(const guint8 *bytes, guint64 length, gpointer user_data);

/* Copies `length` bytes at `from_offset` of `from` to `to_offset` of `to`, where nothing was written yet.
 * `copied` may be NULL. 0, or an errno: ENODATA where `from` ends before. */
int generation_copy_range(int from, guint64 from_offset, int to, guint64 to_offset, guint64 length,
                          GenerationCopied copied, gpointer user_data);

/* Copies what is at a name (a file, or a node as `facts` say; no directory) to the name `fresh`, replacing
 * what is there, with the content only. The file system's own way of sharing blocks is used where it has one.
 * 0, or an errno. */
int generation_copy_node(int directory, const char *name, const ReplicaFacts *facts, int to,
                         const char *fresh);
