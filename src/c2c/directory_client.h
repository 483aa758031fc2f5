/* Asks directories (Clone2Clone section 4, steps 1, 2 and 4) and keeps what they said: the cache serves while
 * they are away. Nothing is believed that does not prove itself: records are verified, a lower record never
 * replaces a higher, answers and heads must be signed, and by two heads that contradict each other a
 * directory that shows different lists is found out. Who looks a user up asks several directories at once
 * (c2c/directory_round.h) and holds their answers against each other: the newest record wins, and a directory
 * that gave an older one, or denied one of its own users, is complained of.
 *
 * Functions that ask block, at most as long as the timeout says. A client belongs to one thread at a time;
 * for another one there is directory_client_share(). */
#pragma once

#include "c2c/directory_head.h"
#include "c2c/directory_place.h"

typedef struct DirectoryClient DirectoryClient;

#define DIRECTORY_CLIENT_MS 10000 /* a timeout for who has no reason for another */

/* `cache` is a file that is made where it is missing; `own` signs connections (borrowed). */
DirectoryClient *directory_client_open(const char *cache, const IdentityKey *own, GError **error);
void directory_client_close(DirectoryClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryClient, directory_client_close)

/* Another one, for another thread, of the same cache, and the same knowledge of who is away; with the same
 * directories and timeout. */
DirectoryClient *directory_client_share(DirectoryClient *client);

/* Whom to ask from now on, in turn (of DirectoryPlace; copied). The first is the own home directory. */
void directory_client_set(DirectoryClient *client, const GPtrArray *places);
const GPtrArray *directory_client_places(const DirectoryClient *client);

/* The user whose clone, device or user key `own` is, where that is known before it registers anything: a
 * directory where they are registered counts them apart from strangers of the same address. */
void directory_client_set_user(DirectoryClient *client, const IdentityPublic *origin);

/* Told to those that come: how long each function that asks may take. Default DIRECTORY_CLIENT_MS. */
void directory_client_set_timeout(DirectoryClient *client, int timeout_ms);

/* What a directory said of a user, or is remembered to have said. */
typedef struct {
  Record *record;
  gboolean cached;          /* no directory could be asked: this is what was known */
  gint64 told;              /* seconds since 1970: when a directory last said so; 0: none did */
  IdentityPublic directory; /* which one; where told > 0 */
  DirectorySigned found;    /* its signed DirectoryFound; statement NULL where a peer told the record */
} DirectoryResult;
void directory_result_free(DirectoryResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryResult, directory_result_free)

/* Users by name, or (name NULL) by origin; `home` NULL: of any directory. An array of DirectoryResult, never
 * empty. NULL with an error: NOT_FOUND where a directory that was asked knows none, GONE where none could be
 * asked and the cache knows none.
 *
 * By origin, which proves itself, the first answer is waited for, and the others a moment (300 ms). Whom a
 * name means is for its directory (`home`, else the first of the list) to say: others' answers count where
 * that is away, has not answered within two seconds, or has said the same before. */
GPtrArray *directory_client_find(DirectoryClient *client, const char *name, const IdentityPublic *origin,
                                 const IdentityPublic *home, GError **error);

/* Goes on with what the last look-up has asked and not waited for, so that late answers are kept and held
 * against the others, too: at most `ms`. FALSE when all is done. The next look-up gives it up. */
gboolean directory_client_linger(DirectoryClient *client, int ms);

/* What a directory did to a user that an honest one does not. Other than evidence, no third party needs
 * believe it. It is forgotten when the directory tells that user's newest record again. */
typedef enum {
  DIRECTORY_HIDES = 1, /* it is the user's home, and says that there is no such user */
  DIRECTORY_OLDER,     /* it gave an older record than is known */
} DirectoryComplaintKind;

typedef struct {
  IdentityPublic directory, origin;
  IdentityPublic witness; /* the directory that told the newer record */
  char *name;
  DirectoryComplaintKind kind;
  gint64 noticed, last; /* seconds since 1970: the first and the last time */
} DirectoryComplaint;
void directory_complaint_free(DirectoryComplaint *complaint);

/* Those about that user, or (NULL) all: an array of DirectoryComplaint; NULL with an error. */
GPtrArray *directory_client_complaints(DirectoryClient *client, const IdentityPublic *origin, GError **error);

/* As directory_health_tell() (c2c/directory_health.h). */
void directory_client_health(DirectoryClient *client, const IdentityPublic *directory, gint64 *answered,
                             gint64 *away, char **words);

/* The one user that "NAME", "DIRECTORY/NAME" or "key:FINGERPRINT" means: of the own home directory, or the
 * only one there is. NULL: as above; USAGE that lists them where there are several. */
DirectoryResult *directory_client_whois(DirectoryClient *client, const char *user, GError **error);

/* Registers at the record's home directory. TRUE with its number in the log. FALSE: GONE where it cannot be
 * asked or has too much to do (try again later), MISMATCH where it knows a newer record, DENIED where it does
 * not take it, whatever is tried; `status` (may be NULL) says which, OK where there was no answer. */
gboolean directory_client_register(DirectoryClient *client, const Record *record, guint64 *number,
                                   DirectoryStatus *status, GError **error);

/* From the cache alone: the newest record of the user that is known, the caller's, or NULL. */
Record *directory_client_known(DirectoryClient *client, const IdentityPublic *origin);

/* Remembers a record that somebody showed (a peer in its INTRODUCE). FALSE without an error where a newer one
 * is known: *newer (may be NULL), the caller's, is that. */
gboolean directory_client_learn(DirectoryClient *client, Record *record, Record **newer, GError **error);

/* A page of the list of all clones (step 2), verified and remembered; `after` NULL: from the beginning. An
 * array of DirectoryResult (empty: the end); *head, the directory's as of this page, may be NULL. */
GPtrArray *directory_client_list(DirectoryClient *client, const IdentityPublic *after, guint count,
                                 gboolean *more, DirectoryHead *head, GError **error);

/* Heads. */

/* The newest that is known of each directory, to be shown to peers: an array of DirectoryHead. */
GArray *directory_client_heads(DirectoryClient *client);

/* A head that somebody showed, of a directory of ours (others' are ignored: TRUE). FALSE: HOSTILE or DENIED
 * where it proves nothing. One that contradicts what is known becomes evidence, and one that is merely
 * unknown is checked by directory_client_watch(). */
gboolean directory_client_saw_head(DirectoryClient *client, const DirectorySigned *head, GError **error);

/* Asks each directory whether it can extend the older of the heads that are known of it to the newer ones
 * (c2c/directory_watch.h): to be called now and then, an hour after the last time. TRUE where none of them
 * has contradicted itself; a directory that is away contradicts nothing. */
gboolean directory_client_watch(DirectoryClient *client, GError **error);

/* Two statements of a directory that cannot both be true. */
typedef struct {
  IdentityPublic directory;
  gint64 noticed; /* seconds since 1970 */
  char *words;    /* what is wrong, for people */
  DirectorySigned first, second;
} DirectoryEvidence;
void directory_evidence_free(DirectoryEvidence *evidence);

/* All that was found: an array of DirectoryEvidence; NULL with an error. */
GPtrArray *directory_client_evidence(DirectoryClient *client, GError **error);

/* Whether there is any against it. */
gboolean directory_client_is_marked(DirectoryClient *client, const IdentityPublic *directory);
