/* A document from a terminal: each line of standard input is added at its end, and what others change is
 * printed.
 *
 *   doc-lines TITLE
 *   doc-lines --direct TITLE      a document of "doppel doc --direct"
 *
 *   cc doc-lines.c $(pkg-config --cflags --libs doppel-doc) */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <doppel/doc.h>

static size_t
characters(const char *utf8, size_t bytes)
{
  size_t count = 0;
  for (size_t i = 0; i < bytes; i++)
    count += (utf8[i] & 0xc0) != 0x80;
  return count;
}

static int
fail(char *why)
{
  fprintf(stderr, "doc-lines: %s\n", why ? why : "out of memory");
  free(why);
  return 1;
}

int
main(int argc, char **argv)
{
  char *why = NULL, line[4096];
  size_t bytes, length;
  int direct = argc == 3 && strcmp(argv[1], "--direct") == 0;
  if (argc != 2 + direct)
    return fail(strdup("write: doc-lines [--direct] TITLE"));
  DoppelDoc *doc = doppel_doc_open(argv[1 + direct], direct ? DOPPEL_DOC_DIRECT : 0, &why);
  if (!doc || doppel_doc_wait(doc, DOPPEL_DOC_FILLED, 60000, &why) < 0)
    return fail(why);
  char *text = doppel_doc_text(doc, &bytes);
  if (!text)
    return fail(NULL);
  fputs(text, stdout);
  fflush(stdout);
  length = characters(text, bytes);
  free(text);
  struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                         {.fd = doppel_doc_fd(doc), .events = POLLIN}};
  for (;;) {
    DoppelDocChange change;
    poll(fds, 2, -1);
    if (doppel_doc_work(doc, &why) < 0)
      return fail(why);
    for (; doppel_doc_next(doc, &change) > 0; length += change.inserted - change.deleted)
      printf("%zu: -%zu +%.*s\n", change.at, change.deleted, (int)change.bytes, change.utf8);
    fflush(stdout);
    if (!fds[0].revents)
      continue;
    ssize_t got = read(STDIN_FILENO, line, sizeof line);
    if (got <= 0)
      break;
    if (doppel_doc_edit(doc, length, 0, line, (size_t)got, &why) < 0)
      return fail(why);
    length += characters(line, (size_t)got);
  }
  if (doppel_doc_wait(doc, DOPPEL_DOC_KEPT, 30000, &why) < 0)
    fprintf(stderr, "doc-lines: kept on this device, not with the %s yet: %s\n", direct ? "server" : "clone",
            why);
  free(why);
  doppel_doc_close(doc);
  return 0;
}
