/* The device's end: what the clone's host has in its public base (replica/public_base.h). */
#pragma once

#include "link/link.h"
#include "replica/public_set.h"

/* Asks for what the host says it has (`length` bytes). *set is NULL where it turns out to be nothing. FALSE
 * with an error. */
gboolean public_ask(Link *link, guint64 length, PublicSet **set, GError **error);
