/* Questions to the own clone's node (wire/c2c_control.proto), for the verbs of the network of clones. */
#pragma once

#include "identity/record.h"
#include "wire/c2c_control.pb-c.h"

/* Asks `verb` with `body` (NULL: none), and unpacks the answer. The caller's, to be freed with
 * protobuf_c_message_free_unpacked(); NULL with an error. */
ProtobufCMessage *network_ask(const char *verb, const ProtobufCMessage *body,
                              const ProtobufCMessageDescriptor *answer, GError **error);

/* Answers that are kept together, such as the pages of a list: an array. */
GPtrArray *network_answers_new(void);

/* For tables: the caller's. */
char *network_key(const ProtobufCBinaryData *key); /* "key:FINGERPRINT"; "" where it is none */
char *network_time(gint64 seconds);                /* seconds since 1970; "" for 0 */
char *network_age(gint64 seconds);                 /* "5 minutes", since then */

/* What the clone has to say, a line each on standard error; it comes from elsewhere, so nothing in it steers
 * a terminal. */
void network_notes(const char *verb, char *const *notes, gsize count);
