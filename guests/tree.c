// Lists a directory and what is below it, in order of names, with sizes.
//
//   tree [DIRECTORY]

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int directories, files;

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void *checked(void *memory) {
    if (!memory) {
        fprintf(stderr, "tree: out of memory\n");
        exit(1);
    }
    return memory;
}

// The names in a directory, sorted; NULL when it cannot be read.
static char **names_in(const char *path, size_t *count) {
    DIR *directory = opendir(path);
    if (!directory) return NULL;
    size_t room = 16;
    char **names = checked(malloc(room * sizeof *names));
    *count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (*count == room) names = checked(realloc(names, (room *= 2) * sizeof *names));
        names[(*count)++] = checked(strdup(entry->d_name));
    }
    closedir(directory);
    qsort(names, *count, sizeof *names, by_name);
    return names;
}

static int list(const char *path, const char *prefix) {
    size_t count;
    char **names = names_in(path, &count);
    if (!names) {
        fflush(stdout);
        fprintf(stderr, "tree: %s: %s\n", path, strerror(errno));
        return 1;
    }
    int failed = 0;
    for (size_t i = 0; i < count; i++) {
        int last = i + 1 == count;
        size_t length = strlen(path) + strlen(names[i]) + strlen(prefix) + 8;
        char *below = checked(malloc(length)), *indented = checked(malloc(length));
        snprintf(below, length, "%s/%s", path, names[i]);
        snprintf(indented, length, "%s%s", prefix, last ? "    " : "|   ");
        printf("%s%s %s", prefix, last ? "`--" : "|--", names[i]);
        struct stat about;
        if (lstat(below, &about) != 0) {
            printf(" (%s)\n", strerror(errno));
            failed = 1;
        } else if (S_ISDIR(about.st_mode)) {
            directories++;
            printf("/\n");
            failed |= list(below, indented);
        } else {
            files++;
            printf(S_ISLNK(about.st_mode) ? " (link)\n" : " (%lld bytes)\n", (long long)about.st_size);
        }
        free(below);
        free(indented);
        free(names[i]);
    }
    free(names);
    return failed;
}

int main(int argc, char **argv) {
    const char *root = argc > 1 ? argv[1] : ".";
    printf("%s\n", root);
    int failed = list(root, "");
    printf("%d directories, %d files\n", directories, files);
    return failed;
}
