/* What questions (directory_question.c) and answers (directory_answer.c) have in common: single values
 * between their structures and protobuf's. Those that take check; FALSE: it is not of that length. */
#pragma once

#include "c2c/directory_message.h"
#include "wire/message.h"

GBytes *directory_wire_bytes(const ProtobufCBinaryData *data);
gboolean directory_wire_key(const ProtobufCBinaryData *data, IdentityPublic *key);
gboolean directory_wire_hash(const ProtobufCBinaryData *data, guint8 hash[RECORD_HASH_LENGTH]);

gboolean directory_wire_take(const Doppel__Wire__DirectorySigned *wire, DirectorySigned *signed_);
void directory_wire_give(const DirectorySigned *signed_, Doppel__Wire__DirectorySigned *wire);

/* At most `most` of them; *all is an array of DirectorySigned, also where it fails. */
gboolean directory_wire_take_all(Doppel__Wire__DirectorySigned *const *wire, gsize count, gsize most,
                                 GArray **all);
/* Borrowed from `all` (NULL: none); free with directory_wire_free_all() and their number. */
Doppel__Wire__DirectorySigned **directory_wire_give_all(const GArray *all);
void directory_wire_free_all(Doppel__Wire__DirectorySigned **wire, guint count);
