/* Words that others have written, for people to read: nothing of them steers a terminal. */
#pragma once

#include <glib.h>

/* Whether it is UTF-8 of so many bytes, without control characters: what may be shown on one line. */
gboolean line_is_plain(const char *text, gsize least, gsize most);

/* Words as such a line of at most `most` bytes: the caller's. */
char *line_of(const char *words, gsize most);
