/* The clone's cache of pages, by what is in them: what a program's earlier run or another session brought
 * need not travel again.
 *
 * One file, of sets of places for pages; a page's key says its set, and the one of a set that was not used
 * for longest makes room. It is read and written, never mapped, so that a file cut short is no SIGBUS.
 * Sessions use it at once without waiting for each other: whatever races, kills, full disks or damage make of
 * the file, a page that is handed out has the hash it was asked by. Everything in the file is hostile; the
 * worst it can do is to hold nothing. Nothing is synced.
 *
 * Not a database, because the hash already gives what a transaction would: SQLite takes about four times as
 * long to write the same pages once old ones have to make room, lets readers wait for writers or maps a file
 * (WAL), and what was deleted as corrupt stays on the disk while another session has it open.
 *
 * A store is for one thread at a time; a forked child opens its own. */
#pragma once

#include <glib.h>

#include "mirror/page_key.h"

typedef struct PageStore PageStore;

enum {
  PAGE_STORE_IDENTITY = 16,
  PAGE_STORE_PENDING = 1024, /* pages, 4 MiB: so many that are put wait for a commit, at most */
};

/* Opens or makes the store in `directory`, which is made where it is not there, is given the mode 0700, and
 * must be the caller's own. The file never holds more than `bytes_max` bytes (at least 532,480); a store that
 * was made for another bound, or whose head is damaged, is begun anew. NULL with an error, to be taken as "no
 * cache", also where RLIMIT_FSIZE is below what the file may need: to write beyond it would be a deadly
 * signal. */
PageStore *page_store_open(const char *directory, guint64 bytes_max, GError **error);

/* Commits, and frees. NULL is allowed. */
void page_store_close(PageStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PageStore, page_store_close)

/* Random, made with the file, so that a store begun anew has another one. It can change at
 * page_store_commit(), too, when the file was damaged or removed meanwhile. */
const guint8 *page_store_identity(const PageStore *store);

/* FALSE: it is not there, or what is there is damaged and was dropped; `page` then holds anything. */
gboolean page_store_get(PageStore *store, const PageKey *key, guint8 page[static COPIES_PAGE]);

/* Keeps a copy of the page, which can be had at once from this store, by others after a commit. `key` should
 * be the page's: under another it will not be handed out. */
void page_store_put(PageStore *store, const PageKey *key, const guint8 page[static COPIES_PAGE]);

/* Writes what was put, and which pages were used; at the end of a block, say. What cannot be written (a full
 * disk) is forgotten. */
void page_store_commit(PageStore *store);
