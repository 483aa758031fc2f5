/* Words that others have written, for people to read: nothing of them steers a terminal. */
#pragma once

#include <glib.h>

/* Whether it is UTF-8 of so many bytes, without control characters: what may be shown on one line. */
gboolean line_is_plain(const char *text, gsize least, gsize most);

/* As many of the words as fit into such a line of `most` bytes: the caller's. */
char *line_of(const char *words, gsize most);
