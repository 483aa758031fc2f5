/* A number of visitors of whom none may keep the others out: so many at most, and so many of each holder (an
 * address, a key). Where there are too many, who has most loses the oldest that can go. Nothing walks through
 * all of them. */
#pragma once

#include "link/callers.h"

typedef struct DirectoryCrowd DirectoryCrowd;

/* Within whatever it stands for. */
typedef struct {
  gpointer owner;
  gboolean busy; /* must not go now */
  LinkCallerSource holder;
  guint index; /* the crowd's business, like `link` */
  GList link;
} DirectoryVisitor;

DirectoryCrowd *directory_crowd_new(guint most, guint most_each);
void directory_crowd_free(DirectoryCrowd *crowd); /* visitors stay as they are */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryCrowd, directory_crowd_free)

/* Whether another of `holder` may come, once *leaving (NULL: nobody), if there is one, has been removed. */
gboolean directory_crowd_has_room(DirectoryCrowd *crowd, const LinkCallerSource *holder,
                                  DirectoryVisitor **leaving);

/* Takes a visitor as the newest of visitor->holder, whatever the limits; and lets it go. */
void directory_crowd_add(DirectoryCrowd *crowd, DirectoryVisitor *visitor);
void directory_crowd_remove(DirectoryCrowd *crowd, DirectoryVisitor *visitor);

/* Who should go first, or NULL: of a few that are picked at random, the oldest of the holder who has most.
 * Who has a large share is picked soon. */
DirectoryVisitor *directory_crowd_surplus(DirectoryCrowd *crowd);

guint directory_crowd_count(const DirectoryCrowd *crowd);
DirectoryVisitor *directory_crowd_nth(const DirectoryCrowd *crowd, guint n); /* in no order */
