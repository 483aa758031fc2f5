/* The outbox of a clone, and one turn of who delivers it. */
#pragma once

#include "c2c/send_box.h"
#include "c2c/service.h"

SendBox *send_outbox_open(const ServicePlace *place, GError **error);

/* Delivers all that is due for `user`, one after the other over one stream; after a failure all of it waits.
 * FALSE with an error where the outbox itself cannot be used. For any thread. */
gboolean send_outbox_deliver(const ServicePlace *place, const char *user, GError **error);

/* How long an item waits after so many tries that failed, in seconds: 2, 4, 8, ... 900. */
guint send_outbox_pause_s(guint tries);
