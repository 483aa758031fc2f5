/* Addresses as users write them: "host:port", "192.0.2.1:port", "[2001:db8::1]:port". */
#pragma once

#include <glib.h>

#define IDENTITY_ADDRESS_MAX 255 /* bytes of an address */

/* Splits an address; both parts are the caller's. USAGE, saying what is wrong, for what is none. */
gboolean identity_address_split(const char *address, char **host, char **port, GError **error);

gboolean identity_address_check(const char *address, GError **error);
