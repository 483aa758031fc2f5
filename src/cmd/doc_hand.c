/* Invitations to documents that people pass on themselves, and the words by which members tell who they are.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/room/handed.h"
#include "cmd/doc.h"

#define MEMBER   "member:"
#define BEGIN    "-----BEGIN DOPPEL INVITATION-----"
#define END      "-----END DOPPEL INVITATION-----"
#define TEXT_MAX (DOC_HANDED_MAX / 2 * 3) /* bytes of such a file, with what a mail has around it */

/* ---- who is meant ---- */

void
doc_member_word_clear(DocMemberWord *member)
{
  g_free(member->name);
}

gboolean
doc_member_word(const char *word, DocMemberWord *member, GError **error)
{
  const char *equals = strchr(word, '='), *keys = equals ? equals + 1 : word;
  if (!g_str_has_prefix(keys, MEMBER)) {
    member->name = g_strdup(word);
    return TRUE;
  }
  keys += strlen(MEMBER);
  const char *plus = strchr(keys, '+');
  g_autofree char *user = plus ? g_strndup(keys, plus - keys) : g_strdup(keys);
  if (!identity_public_from_text(user, &member->user, NULL) ||
      !identity_public_from_text(plus ? plus + 1 : keys, &member->key, NULL) || equals == word)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "\"%.200s\" is no member: write what \"doppel doc key\" prints there, and NAME= before it", word);
  member->keyed = TRUE;
  member->name = equals ? g_strndup(word, equals - word) : g_strconcat("key:", user, NULL);
  return TRUE;
}

static gboolean
print_self(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  if (answer->what_case != DOC_ROOM_TELL(PERSON))
    return TRUE;
  IdentityPublic user, key;
  memcpy(user.bytes, answer->person->user.data, sizeof user.bytes);
  memcpy(key.bytes, answer->person->key.data, sizeof key.bytes);
  g_autofree char *of_user = identity_public_to_text(&user), *of_key = identity_public_to_text(&key);
  if (identity_public_equal(&user, &key))
    printf(MEMBER "%s\n", of_key);
  else
    printf(MEMBER "%s+%s\n", of_user, of_key);
  return TRUE;
}

gboolean
doc_key(char **words, const DocOptions *options, GError **error)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.what_case = DOC_ROOM_ASK(SELF);
  question.self = TRUE;
  return doc_ask(&question, print_self, NULL, error);
}

/* ---- handing out ---- */

typedef struct {
  DocCopies *copies;
  GBytes *sealed;
  DocName document;
} Hand;

static gboolean
take(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  Hand *hand = data;
  if (answer->what_case == DOC_ROOM_TELL(INVITATION) && !hand->sealed)
    hand->sealed = g_bytes_new(answer->invitation.data, answer->invitation.len);
  if (answer->what_case != DOC_ROOM_TELL(ROW))
    return TRUE;
  memcpy(hand->document.bytes, answer->row->document.data, DOC_NAME_LENGTH);
  return doc_known_keep(hand->copies, answer->row, error);
}

static char *
text_of(GBytes *sealed)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(sealed, &length);
  char *letters = g_malloc((length / 3 + 1) * 4 + length / 48 + 72);
  int state = 0, save = 0;
  gsize written = g_base64_encode_step(data, length, TRUE, letters, &state, &save);
  written += g_base64_encode_close(TRUE, letters + written, &state, &save);
  letters[written] = '\0';
  char *text = g_strconcat(BEGIN "\n", letters, END "\n", NULL);
  g_free(letters);
  return text;
}

gboolean
doc_hand_out(DocCopies *copies, DocRoomQuestion *question, const char *path, GError **error)
{
  Hand hand = {.copies = copies};
  g_autoptr(GError) why = NULL;
  gboolean good = doc_ask(question, take, &hand, error);
  g_autoptr(GBytes) sealed = hand.sealed;
  if (!good)
    return FALSE;
  if (!sealed)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s did not make an invitation", doc_room_called());
  g_autofree char *text = text_of(sealed);
  if (!path || strcmp(path, "-") == 0)
    return (fputs(text, stdout) >= 0 && fflush(stdout) == 0) ||
           doppel_error_errno(error, "the invitation cannot be written");
  return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &why) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "the invitation cannot be written: %s", why->message);
}

/* ---- taking ---- */

/* NULL: there is none in the file. What mails make of the ends of lines is no letter of base 64, and skipped.
 */
static GBytes *
read_sealed(const char *path)
{
  g_autofree char *text = NULL;
  gsize bytes;
  if (!doc_file_read(path, &text, &bytes, NULL) || bytes > TEXT_MAX)
    return NULL;
  char *begin = strstr(text, BEGIN), *end = begin ? strstr(begin, END) : NULL;
  if (!end)
    return NULL;
  *end = '\0';
  gsize length;
  g_autofree guint8 *sealed = g_base64_decode(begin + strlen(BEGIN), &length);
  return length > 0 && length <= DOC_HANDED_MAX ? g_bytes_new(sealed, length) : NULL;
}

gboolean
doc_hand_is(const char *word)
{
  struct stat status;
  if (strcmp(word, "-") == 0)
    return TRUE;
  if (stat(word, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > TEXT_MAX)
    return FALSE;
  g_autoptr(GBytes) sealed = read_sealed(word);
  return sealed != NULL;
}

gboolean
doc_hand_bring(DocCopies *copies, const char *path, DocName *document, GError **error)
{
  Hand hand = {.copies = copies};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  g_autoptr(GBytes) sealed = read_sealed(path);
  if (!sealed)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no whole invitation in what was read");
  question.what_case = DOC_ROOM_ASK(BRING);
  question.bring.data = (guint8 *)g_bytes_get_data(sealed, &question.bring.len);
  if (!doc_ask(&question, take, &hand, error))
    return FALSE;
  *document = hand.document;
  return TRUE;
}
