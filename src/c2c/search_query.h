/* What somebody wants to find, as they typed it: words, of which all have to be there; "several words" in a
 * row; the beginning of a word, pre*. Nothing else means anything. */
#pragma once

#include <glib.h>

#define SEARCH_TERMS_MAX 16
#define SEARCH_TERM_MAX  100 /* bytes */
#define SEARCH_PREFIX    2   /* letters at least before a '*' */

/* As an expression for FTS5's MATCH (https://www.sqlite.org/fts5.html, section 3): each term is in quotes, so
 * that no operator, column or syntax error can come from outside. NULL with USAGE where there is nothing to
 * search for, or too much. */
char *search_query_match(const char *words, GError **error);
