/* Words for people: a secret of 128 bits as ten words of five letters that can be said, written down and
 * typed again.
 *
 * Each word stands for 16 bits, most significant first: consonant (4 bits), vowel (2), consonant, vowel,
 * consonant, as in D. Wilkerson: A Proposal for Proquints (2009). Eight words are the secret, two are for
 * checking: with p a root of x^16 + x^12 + x^3 + x + 1, the sum of the words, and that of the words times
 * p^0 ... p^9, is zero in GF(2^16) (a Reed-Solomon code of distance 3). So which word is wrong can be told
 * where it is one, and that something is where it is more; the chance that a wrong phrase is taken for one is
 * 2^-32. */
#pragma once

#include <glib.h>

#define IDENTITY_PHRASE_SECRET 16 /* bytes */
#define IDENTITY_PHRASE_WORDS  10
#define IDENTITY_PHRASE_WORD   5    /* letters */
#define IDENTITY_PHRASE_MAX    1024 /* bytes of a text that is looked at */

/* The phrase, small letters, with one space between words. */
char *identity_phrase_write(const guint8 secret[IDENTITY_PHRASE_SECRET]);

/* Reads a phrase in which letters may be large or small, and words separated by anything that is no letter;
 * or not at all, all of them. FALSE with USAGE that names the word that is wrong, by its number, never what
 * was written. */
gboolean identity_phrase_read(const char *text, guint8 secret[IDENTITY_PHRASE_SECRET], GError **error);
