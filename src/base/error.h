/* The errors of doppel: one domain, few codes. A message says what failed, on which thing, what to do now. */
#pragma once

#include <glib.h>

#define DOPPEL_ERROR doppel_error_quark()
GQuark doppel_error_quark(void);

typedef enum {
  DOPPEL_ERROR_FAILED,      /* the system refused: the message carries strerror() */
  DOPPEL_ERROR_USAGE,       /* what the user asked for makes no sense; exit status 2 */
  DOPPEL_ERROR_NOT_FOUND,   /* a program, function, file, clone or invitation that does not exist */
  DOPPEL_ERROR_HOSTILE,     /* bytes from outside that no correct peer sends */
  DOPPEL_ERROR_DENIED,      /* a wrong key, an expired invitation, no permission */
  DOPPEL_ERROR_UNSUPPORTED, /* this kernel, processor or program cannot do it */
  DOPPEL_ERROR_GONE,        /* the peer, the link or the process is no more */
  DOPPEL_ERROR_MISMATCH,    /* the twins differ where they must not */
  DOPPEL_ERROR_ABORTED,     /* the block was given up; it can be run on the device */
} DoppelErrorCode;

/* Sets `error` from errno: "<formatted message>: <strerror>". Always returns FALSE, so that a caller can
 * return it. */
gboolean doppel_error_errno(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Sets `error` with a code of the domain above. Always returns FALSE. */
gboolean doppel_error_set(GError **error, DoppelErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same of words that need not be UTF-8, as files and their names have them: what is no UTF-8 is shown as
 * U+FFFD. */
gboolean doppel_error_set_foreign(GError **error, DoppelErrorCode code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
