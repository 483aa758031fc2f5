/* Paths in messages, which may be longer than PATH_MAX. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/* A path of the replica ("" is its root) from a message: a string of its own, or NULL with HOSTILE. */
char *sync_path_take(const ProtobufCBinaryData *bytes, GError **error);
