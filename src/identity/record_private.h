/* What record.c and record_sign.c share. */
#pragma once

#include "identity/record.h"
#include "identity/statement.h"
#include "wire/message.h"
#include "wire/record.pb-c.h"

/* By which two chains of successions are compared. */
typedef struct {
  guint8 hash[STATEMENT_HASH_LENGTH]; /* of the statement */
  gboolean by_recovery;
} RecordSuccession;

typedef struct {
  Record record;
  gatomicrefcount references;
  RecordSuccession successions[RECORD_SUCCESSIONS_MAX];
} RecordWhole;

static inline void
record_free_message(ProtobufCMessage *message)
{
  protobuf_c_message_free_unpacked(message, NULL);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProtobufCMessage, record_free_message)

/* A message of which those bytes are the one encoding; NULL with HOSTILE. */
ProtobufCMessage *record_unpack(const ProtobufCMessageDescriptor *kind, const void *data, gsize length,
                                const char *what, GError **error);
