/* A document's text: Unicode scalar values, kept as UTF-8 in the leaves of a B+ tree, so that an edit
 * anywhere in a text of millions costs what the way down to one leaf costs. Positions and counts are scalar
 * values, from 0. */
#pragma once

#include <glib.h>

/* What a text may hold, in bytes of UTF-8. */
#define OT_TEXT_BYTES_MAX (G_GUINT64_CONSTANT(1) << 30)

typedef struct OtText OtText;

/* An empty text. */
OtText *ot_text_new(void);
void ot_text_free(OtText *text);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OtText, ot_text_free)

/* TRUE if `utf8` is `bytes` of UTF-8 without U+0000, which no text holds; `scalars` gets how many they are.
 * Overlong forms, surrogates and what is beyond U+10FFFF are not UTF-8 (RFC 3629). */
gboolean ot_utf8_check(const char *utf8, gsize bytes, gsize *scalars);

/* Where in `utf8`, which is checked, its scalar value number `scalar` begins (bytes). */
gsize ot_utf8_offset(const char *utf8, gsize bytes, gsize scalar);

gsize ot_text_length(const OtText *text);
gsize ot_text_bytes(const OtText *text);

/* Puts `bytes` of `utf8` (checked; `scalars` of them) before position `at`, which is at most the length. What
 * the text may hold is the caller's to see to. */
void ot_text_insert(OtText *text, gsize at, const char *utf8, gsize bytes, gsize scalars);

/* Takes `count` away from position `at` on; both are within the text. */
void ot_text_delete(OtText *text, gsize at, gsize count);

/* `count` from position `at` on, as a string to be freed with g_free(); `bytes` (may be NULL) gets its
 * length. */
char *ot_text_copy(const OtText *text, gsize at, gsize count, gsize *bytes);

/* Calls `each` with the pieces of the whole text in order. */
typedef void (*OtTextPiece)(const char *utf8, gsize bytes, gpointer user_data);
void ot_text_each(const OtText *text, OtTextPiece each, gpointer user_data);

gboolean ot_text_equal(const OtText *a, const OtText *b);
