/* Documents that several write at once (Clone2Clone, section 5), for editors.
 *
 * An editor shows a text of its own and tells each change of it here; what others change it takes from here
 * and does to what it shows. Neither waits for the other, nor for the network: the device has a copy of the
 * document, and its clone gets what was typed when that can be reached. Any number of programs may have the
 * same document open. "doppel doc" makes documents and says who their members are.
 *
 * Link with -ldoppel-doc. Positions and lengths are Unicode scalar values, from 0; texts are UTF-8 without
 * U+0000. Nothing blocks but the disk, and what says so. A DoppelDoc may be used by one thread at a time.
 * Functions that return an int return 0, or -1 with words in *why, to be freed with free(3); `why` may be
 * NULL. */
#ifndef DOPPEL_DOC_H
#define DOPPEL_DOC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct DoppelDoc DoppelDoc;

#define DOPPEL_DOC_OFFLINE 1u /* leave the clone alone */
/* One of the documents that "doppel doc --direct" has, which this device keeps itself: where it says clone
 * here it is this device's own room of documents, which is started as the program "doppel" of $PATH, and is
 * there as long as such a document is open, and after that until the servers have what was typed, if they can
 * be reached. */
#define DOPPEL_DOC_DIRECT 2u

/* Opens a document by its title, or by the beginning of its name in hexadecimal, as "doppel doc list" shows
 * them. Asks the clone where this device does not know it, which blocks. NULL with *why. */
DoppelDoc *doppel_doc_open(const char *document, unsigned flags, char **why);
void doppel_doc_close(DoppelDoc *doc);

/* The text as it is now, to be freed with free(3), with `*bytes` of it before its NUL. Changes by others that
 * were not taken yet are in it, and do not come any more. NULL: no memory. */
char *doppel_doc_text(DoppelDoc *doc, size_t *bytes);

/* The editor has made `bytes` of `utf8` of `deleted` characters at `at` of the text that it shows: that which
 * it got at last, with what it has done and taken since. It is on the disk when this returns. -1, and nothing
 * was edited, where this user may not write, or not yet (DOPPEL_DOC_WRITE). */
int doppel_doc_edit(DoppelDoc *doc, size_t at, size_t deleted, const char *utf8, size_t bytes, char **why);

/* Readable when doppel_doc_work() has something to do; the document's. */
int doppel_doc_fd(const DoppelDoc *doc);

/* Does it: reads what others did, sends what was typed. -1: the copy on this device cannot be used. */
int doppel_doc_work(DoppelDoc *doc, char **why);

/* A change by others, to be done to what is shown: `deleted` characters at `at` make way for `bytes` of
 * `utf8`, which is valid until the next call with this document. */
typedef struct {
  size_t at, deleted;
  const char *utf8;
  size_t bytes;
  size_t inserted; /* characters of `utf8` */
} DoppelDocChange;

/* Takes the next one: 1; 0: there is none now. */
int doppel_doc_next(DoppelDoc *doc, DoppelDocChange *change);

#define DOPPEL_DOC_FILLED                                                                                    \
  1u /* the document's text has been on this device: an empty one means nothing before */
#define DOPPEL_DOC_CURRENT 2u /* it is in step with the clone */
/* The clone has everything that was typed on this device; of DOPPEL_DOC_DIRECT: the document's server, unless
 * another program on this device has the document open, too, and was first. */
#define DOPPEL_DOC_KEPT 4u
/* This user may write, as far as is known here: who has accepted an invitation may when the text has come.
 * What was typed before it came to be known that they may not is taken back. */
#define DOPPEL_DOC_WRITE 8u

/* What is so now, of the above. */
unsigned doppel_doc_state(DoppelDoc *doc);

/* Works until all of `state` is so; blocks. -1: not after `timeout_ms` (< 0: waits for ever), with why. */
int doppel_doc_wait(DoppelDoc *doc, unsigned state, int timeout_ms, char **why);

#ifdef __cplusplus
}
#endif
#endif
