/*
 * qsort: sort words by the alphabet and points in space by their distance from the origin.
 *
 * A workload of comparisons and moves in the manner of the automotive suite of MiBench (Guthaus et al., WWC-4, 2001), written
 * for rtvirt. The quicksort (Hoare, 1962) is its own: under the name qsort, C libraries sort in quite different ways. What is
 * sorted must be in order and be what was given.
 *
 *   rtvirt-qsort [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#include "workload.h"

#include <stdbool.h>
#include <string.h>

enum { SMALL_ITEMS = 3000, LARGE_ITEMS = 65536 };
enum { SHORT_RANGE = 8, MAX_SYLLABLES = 6 };

struct word {
    char text[16];
};

struct point {
    int32_t x, y, z, unused;
    uint64_t square; /* of the distance from the origin */
};

typedef int comparison(const void *left, const void *right);

static struct word words[LARGE_ITEMS], sorted_words[LARGE_ITEMS];
static struct point points[LARGE_ITEMS], sorted_points[LARGE_ITEMS];
static size_t item_count;

static int compare_words(const void *left, const void *right)
{
    const struct word *a = left, *b = right;
    return strcmp(a->text, b->text);
}

static int compare_points(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    return (a->square > b->square) - (a->square < b->square);
}

/* Widths are multiples of eight bytes. */
static void swap(char *a, char *b, size_t width)
{
    for (size_t i = 0; i < width; i += 8) {
        uint64_t eight_of_a, eight_of_b;
        memcpy(&eight_of_a, a + i, 8);
        memcpy(&eight_of_b, b + i, 8);
        memcpy(a + i, &eight_of_b, 8);
        memcpy(b + i, &eight_of_a, 8);
    }
}

static void insertion_sort(char *first, char *end, size_t width, comparison *compare)
{
    for (char *next = first + width; next < end; next += width)
        for (char *item = next; item > first && compare(item - width, item) > 0; item -= width)
            swap(item - width, item, width);
}

/* The median of the first, the middle and the last item becomes the first one. */
static void choose_pivot(char *first, char *last, size_t width, comparison *compare)
{
    char *middle = first + (size_t)(last - first) / width / 2 * width;
    if (compare(middle, last) > 0)
        swap(middle, last, width);
    if (compare(first, last) > 0)
        swap(first, last, width);
    if (compare(middle, first) > 0)
        swap(middle, first, width);
}

/* Returns where the pivot has gone: nothing before it is above it, nothing behind it below. */
static char *partition(char *first, char *end, size_t width, comparison *compare)
{
    char *low = first, *high = end;
    for (;;) {
        do
            low += width;
        while (low < end && compare(low, first) < 0);
        do
            high -= width;
        while (compare(high, first) > 0);
        if (low >= high)
            break;
        swap(low, high, width);
    }
    swap(first, high, width);
    return high;
}

/* The shorter part by recursion, the longer one by the loop: the stack stays small. */
static void quicksort(char *first, char *end, size_t width, comparison *compare)
{
    while ((size_t)(end - first) > SHORT_RANGE * width) {
        choose_pivot(first, end - width, width, compare);
        char *pivot = partition(first, end, width, compare);
        if (pivot - first < end - pivot) {
            quicksort(first, pivot, width, compare);
            first = pivot + width;
        } else {
            quicksort(pivot + width, end, width, compare);
            end = pivot;
        }
    }
    insertion_sort(first, end, width, compare);
}

static void sort(void *items, size_t count, size_t width, comparison *compare)
{
    quicksort(items, (char *)items + count * width, width, compare);
}

/* Of two to six syllables, so that many words begin alike. */
static struct word random_word(uint32_t *state)
{
    struct word word = {""};
    uint32_t syllables = 2 + random_below(state, MAX_SYLLABLES - 1);
    for (uint32_t i = 0; i < syllables; i++) {
        word.text[2 * i] = "bdfglmnprstv"[random_below(state, 12)];
        word.text[2 * i + 1] = "aeiou"[random_below(state, 5)];
    }
    return word;
}

static int32_t random_coordinate(uint32_t *state)
{
    return (int32_t)random_below(state, 2000001) - 1000000;
}

static struct point random_point(uint32_t *state)
{
    int64_t x = random_coordinate(state), y = random_coordinate(state), z = random_coordinate(state);
    return (struct point){(int32_t)x, (int32_t)y, (int32_t)z, 0, (uint64_t)(x * x + y * y + z * z)};
}

static void setup(enum workload_size size, uint32_t seed)
{
    item_count = size == SMALL ? SMALL_ITEMS : LARGE_ITEMS;
    for (size_t i = 0; i < item_count; i++)
        words[i] = random_word(&seed);
    for (size_t i = 0; i < item_count; i++)
        points[i] = random_point(&seed);
}

static uint64_t iterate(void)
{
    memcpy(sorted_words, words, item_count * sizeof words[0]);
    memcpy(sorted_points, points, item_count * sizeof points[0]);
    sort(sorted_words, item_count, sizeof words[0], compare_words);
    sort(sorted_points, item_count, sizeof points[0], compare_points);
    uint64_t digest = DIGEST_START;
    for (size_t i = 0; i < item_count; i++)
        digest = digest_bytes(digest, sorted_words[i].text, strlen(sorted_words[i].text));
    for (size_t i = 0; i < item_count; i++)
        digest = digest_u64(digest, sorted_points[i].square);
    return digest;
}

/* Sums of digests do not depend on the order. */
static uint64_t sum_of_items(const void *items, size_t width)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < item_count; i++)
        sum += digest_bytes(DIGEST_START, (const char *)items + i * width, width);
    return sum;
}

static void check_sorted(const char *what, const void *given, const void *sorted, size_t width, comparison *compare)
{
    const char *item = sorted;
    for (size_t i = 1; i < item_count; i++, item += width)
        if (compare(item, item + width) > 0)
            workload_wrong("%s %lu and %lu are in the wrong order.", what, (unsigned long)(i - 1), (unsigned long)i);
    if (sum_of_items(sorted, width) != sum_of_items(given, width))
        workload_wrong("the %s that were sorted are not those that were given.", what);
}

static void check(void)
{
    check_sorted("words", words, sorted_words, sizeof words[0], compare_words);
    check_sorted("points", points, sorted_points, sizeof points[0], compare_points);
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "qsort",
        .summary = "Sorts words by the alphabet and points by their distance from the origin, with a quicksort of its own.\n"
                   "Checks the order, and that nothing was lost.",
        .inputs = {"3000 words and 3000 points", "65536 words and 65536 points"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0x541141b7935936f5), UINT64_C(0x2c07f1f0bad99f03)},
    };
    return workload_main(&workload, argc, argv);
}
