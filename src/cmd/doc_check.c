/* doppel doc check: whether a file of evidence shows that a server of documents is at fault, to whoever has
 * nothing but the file and that server's key. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "clonedoc/evidence.h"
#include "cmd/doc.h"

#define PIECE (1u << 20)

/* What is wrong with the entry, of which the server has signed that it is in the history. */
static const char *const meanings[DOC_FAULTS] = {
    [DOC_FAULT_DAMAGED] = "begins no document",
    [DOC_FAULT_OTHER] = "belongs to another document",
    [DOC_FAULT_FORGED] = "is said to be a member's, who has not signed it",
    [DOC_FAULT_FORK] =
        "was made, as its author has signed, on another history than the one that it stands in",
    [DOC_FAULT_DUPLICATE] = "is there a second time, or behind a later one of its author",
    [DOC_FAULT_DROPPED] = "has an author of whom an earlier entry is left out",
};

static char *
words_of(const DocEvidence *evidence)
{
  if (evidence->fault == DOC_FAULT_TWO_HEADS)
    return g_strdup_printf(
        "It has signed two histories of one document that contradict each other: one of %" G_GUINT64_FORMAT
        " entries, and one of %" G_GUINT64_FORMAT " that does not begin with the other. A correct server has "
        "one history, to which entries are only added: "
        "this one has lied, or lost what it had signed and gone on without it.",
        evidence->number, evidence->length);
  return g_strdup_printf(
      "It has signed a history of %" G_GUINT64_FORMAT " entries whose entry %" G_GUINT64_FORMAT
      " %s. A correct server gives no such entry a number.",
      evidence->length, evidence->number,
      meanings[evidence->fault] ? meanings[evidence->fault] : doc_fault_name(evidence->fault));
}

static GByteArray *
read_file(const char *path, GError **error)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  gboolean standard = strcmp(path, "-") == 0;
  g_auto(Fd) fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
  gssize got = fd < 0 ? -1 : 1;
  while (got > 0 && bytes->len <= DOC_EVIDENCE_MAX) {
    guint at = bytes->len;
    g_byte_array_set_size(bytes, at + PIECE);
    got = io_read_all(fd, bytes->data + at, PIECE);
    g_byte_array_set_size(bytes, at + (guint)MAX(got, 0));
  }
  if (got >= 0)
    return g_steal_pointer(&bytes);
  /* It is not that it proves nothing: exit status 2. */
  doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s cannot be read: %s", path, g_strerror(errno));
  return NULL;
}

/* As the key is written alone, or with an address before it. */
static gboolean
parse_key(const char *text, IdentityPublic *key, GError **error)
{
  const char *equals = text ? strrchr(text, '=') : NULL, *only = equals ? equals + 1 : text;
  if (!text)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "whose fault is it? Say --server-key=KEY, as \"clonedocd key\" prints it there");
  if (g_str_has_prefix(only, "key:"))
    only += strlen("key:");
  return identity_public_from_text(only, key, NULL) ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%.80s\" is no key of a server", text);
}

static void
print_json(const DocEvidence *evidence, const char *key, const char *words)
{
  g_autofree char *document = doc_name_text(&evidence->document, 2 * DOC_NAME_LENGTH);
  gboolean proves = evidence->fault != DOC_FAULT_NONE;
  g_autoptr(GString) text = g_string_new(NULL);
  g_string_append_printf(text, "{\"proves\": %s, \"server\": \"%s\", \"document\": \"%s\", \"fault\": \"%s\"",
                         proves ? "true" : "false", key, proves ? document : "",
                         proves ? doc_fault_name(evidence->fault) : "");
  g_string_append_printf(
      text,
      ", \"number\": %" G_GUINT64_FORMAT ", \"length\": %" G_GUINT64_FORMAT ", \"words\": ", evidence->number,
      evidence->length);
  json_append_string(text, words);
  g_string_append(text, "}\n");
  fputs(text->str, stdout);
}

static void
print(const DocEvidence *evidence, const char *key, const char *words)
{
  g_autofree char *document = doc_name_text(&evidence->document, 2 * DOC_NAME_LENGTH);
  printf("The server of documents with the key %s is at fault: %s.\n", key, doc_fault_name(evidence->fault));
  printf("%s\n", words);
  printf(
      "The document is %s. Nobody without that server's key can have made this up. It does not say when it "
      "happened, or to whom.\n",
      document);
}

gboolean
doc_check(char **words, const DocOptions *options, GError **error)
{
  IdentityPublic server;
  DocEvidence evidence;
  g_autoptr(GError) why = NULL;
  if (!parse_key(options->server_key, &server, error))
    return FALSE;
  g_autoptr(GByteArray) bytes = read_file(words[0], error);
  if (!bytes)
    return FALSE;
  g_autofree char *key = identity_public_to_text(&server);
  if (doc_evidence_check(bytes->data, bytes->len, &server, &evidence, &why)) {
    g_autofree char *said = words_of(&evidence);
    (options->json ? print_json : print)(&evidence, key, said);
    return TRUE;
  }
  if (options->json)
    print_json(&(DocEvidence){0}, key, why->message);
  return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                          "%s proves nothing against the server with the key %s: %s", words[0], key,
                          why->message);
}
