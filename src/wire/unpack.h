/* Messages from somebody who may mean harm. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/* protobuf_c_message_unpack() that takes no more memory than `most` bytes: small messages in great number
 * would take many times their length. NULL: malformed, or it would take more. Freed as any other. */
gpointer wire_unpack_within(const ProtobufCMessageDescriptor *type, const void *data, gsize length,
                            gsize most);

/* The same with what a sensible message of that length takes. */
gpointer wire_unpack(const ProtobufCMessageDescriptor *type, const void *data, gsize length);
