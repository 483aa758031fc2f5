/* What programs send to a node or a gateway, believed only when it is what a correct one sends. */
#pragma once

#include <glib.h>

#include "c2c/local_packet.h"

typedef Doppel__Wire__LocalRequest LocalRequest;
typedef Doppel__Wire__LocalReply LocalReply;

/* HOSTILE for anything that libdoppel-c2c does not send: texts are UTF-8 without control characters, and not
 * longer than LOCAL_..._MAX; a service and a verb are not empty. */
LocalRequest *local_request_unpack(const void *data, gsize length, GError **error);
void local_request_free(LocalRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LocalRequest, local_request_free)

/* Likewise, for replies that another machine has passed on: with texts checked too. */
LocalReply *local_reply_unpack(const void *data, gsize length, GError **error);
void local_reply_free(LocalReply *reply);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LocalReply, local_reply_free)
