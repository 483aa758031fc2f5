/* The beginning of a session with a clone, for the Controller and for who keeps sessions ready for it. */
#pragma once

#include "link/link.h"

/* Has the clone prepare a place for a program of this process's user. It answers only when that fails. */
gboolean session_prepare(Link *link, GError **error);
