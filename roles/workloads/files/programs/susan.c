/*
 * susan: smooth a greyscale image and find its edges and corners.
 *
 * A workload of image processing in the manner of the automotive suite of MiBench (Guthaus et al., WWC-4, 2001), written for
 * rtvirt from the SUSAN principle (Smith and Brady, IJCV 23(1), 1997): around each pixel, the nucleus, a circular mask tells
 * the area that is about as bright as the nucleus; a small area means an edge, a very small one a corner. Checked with images
 * whose answer is known: a flat one, a lone pixel, a rectangle, and the mirror image.
 *
 *   rtvirt-susan [--forever | --iterations N] [--size small|large] [--seed N] [--expect DIGEST]
 */
#include "workload.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_WIDTH = 64, SMALL_HEIGHT = 48, LARGE_WIDTH = 320, LARGE_HEIGHT = 240, LARGE_PIXELS = LARGE_WIDTH * LARGE_HEIGHT };
enum { SHAPES = 40 };
enum { RADIUS = 3, DIAMETER = 2 * RADIUS + 1, MASK_PIXELS = 37 };
enum { SAME = 100, BRIGHTNESS_THRESHOLD = 20 }; /* similarity of equal pixels; difference from which it is small */
enum { EDGE_AREA = SAME * MASK_PIXELS * 3 / 4, CORNER_AREA = SAME * MASK_PIXELS / 2 }; /* the paper's geometric thresholds */

struct area {
    int size;       /* sum of similarities */
    int x, y;       /* sums of similarity times offset: size times the centre of gravity */
    int xx, yy, xy; /* second moments */
};

struct features {
    uint8_t smooth[LARGE_PIXELS];
    uint16_t edges[LARGE_PIXELS], corners[LARGE_PIXELS]; /* how much the area is below the threshold; 0: none here */
};

static const int half_widths[DIAMETER] = {1, 2, 3, 3, 3, 2, 1};
static int mask_x[MASK_PIXELS], mask_y[MASK_PIXELS], mask_offset[MASK_PIXELS];
static uint8_t similarities[511]; /* of differences from -255 to 255 */
static int weights[DIAMETER][DIAMETER];

static int width, height;
static size_t pixel_count;
static int inner[LARGE_PIXELS], inner_count; /* the pixels around which the whole mask lies in the image */
static uint8_t image[LARGE_PIXELS], test_image[LARGE_PIXELS];
static struct features answer, test_answer;
static uint16_t response[LARGE_PIXELS];

static int similarity(int brightness, int nucleus)
{
    return similarities[brightness - nucleus + 255];
}

static void make_mask(void)
{
    int n = 0;
    for (int y = -RADIUS; y <= RADIUS; y++)
        for (int x = -half_widths[y + RADIUS]; x <= half_widths[y + RADIUS]; x++, n++) {
            mask_x[n] = x;
            mask_y[n] = y;
            mask_offset[n] = y * width + x;
        }
}

/* None of the values lies so near to a half that another C library would round it otherwise. */
static void make_tables(void)
{
    for (int difference = -255; difference <= 255; difference++) {
        double ratio = (double)difference / BRIGHTNESS_THRESHOLD, cube = ratio * ratio * ratio;
        similarities[difference + 255] = (uint8_t)floor(SAME * exp(-cube * cube) + 0.5);
    }
    for (int y = -RADIUS; y <= RADIUS; y++)
        for (int x = -RADIUS; x <= RADIUS; x++)
            weights[y + RADIUS][x + RADIUS] = (int)floor(100 * exp(-(x * x + y * y) / 8.0) + 0.5);
}

static uint8_t median_of_neighbours(const uint8_t *nucleus)
{
    const int offsets[8] = {-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1};
    int sorted[8];
    for (int i = 0; i < 8; i++) {
        int place = i;
        for (; place > 0 && sorted[place - 1] > nucleus[offsets[i]]; place--)
            sorted[place] = sorted[place - 1];
        sorted[place] = nucleus[offsets[i]];
    }
    return (uint8_t)((sorted[3] + sorted[4]) / 2);
}

/* The mean of the pixels around, weighed by nearness and similarity; the nucleus itself does not count. */
static uint8_t smooth_pixel(const uint8_t *nucleus)
{
    int sum = 0, total = 0;
    for (int y = -RADIUS; y <= RADIUS; y++)
        for (int x = -RADIUS; x <= RADIUS; x++) {
            int brightness = nucleus[y * width + x];
            int weight = weights[y + RADIUS][x + RADIUS] * similarity(brightness, *nucleus);
            sum += weight * brightness;
            total += weight;
        }
    int own = weights[RADIUS][RADIUS] * SAME;
    if (total == own)
        return median_of_neighbours(nucleus);
    return (uint8_t)((sum - own * *nucleus + (total - own) / 2) / (total - own));
}

static int area_size(const uint8_t *nucleus)
{
    int size = 0;
    for (int i = 0; i < MASK_PIXELS; i++)
        size += similarity(nucleus[mask_offset[i]], *nucleus);
    return size;
}

static struct area area_of(const uint8_t *nucleus)
{
    struct area area = {0, 0, 0, 0, 0, 0};
    for (int i = 0; i < MASK_PIXELS; i++) {
        int same = similarity(nucleus[mask_offset[i]], *nucleus), x = mask_x[i], y = mask_y[i];
        area.size += same;
        area.x += same * x;
        area.y += same * y;
        area.xx += same * x * x;
        area.yy += same * y * y;
        area.xy += same * x * y;
    }
    return area;
}

/* Whether the centre of gravity is more than a pixel from the nucleus. */
static bool is_one_sided(const struct area *area)
{
    return area->x * area->x + area->y * area->y > area->size * area->size;
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

/*
 * The step to the next pixel across the edge; 0 if the edge has no direction. Beside an edge the centre of gravity lies across
 * it; on a line, or where the area is thin, the moments show how it is stretched.
 */
static int step_across(const struct area *area)
{
    int x = abs(area->x), y = abs(area->y);
    if (area->size > SAME * DIAMETER && is_one_sided(area))
        return (2 * y < x ? 0 : sign(area->y)) * width + (2 * x < y ? 0 : sign(area->x));
    if (2 * area->xx < area->yy)
        return 1;
    if (2 * area->yy < area->xx)
        return width;
    return area->xy > 0 ? width - 1 : area->xy < 0 ? width + 1 : 0;
}

static bool is_highest(const uint16_t *pixel, int reach)
{
    for (int y = -reach; y <= reach; y++)
        for (int x = -reach; x <= reach; x++)
            if (pixel[y * width + x] > *pixel)
                return false;
    return true;
}

static bool is_edge(const uint8_t *nucleus, const uint16_t *pixel)
{
    struct area area = area_of(nucleus);
    int step = step_across(&area);
    if (step == 0)
        return is_highest(pixel, 1);
    return *pixel >= pixel[-step] && *pixel >= pixel[step];
}

/* The centre of gravity must be off the nucleus, and the pixels towards it belong to the area. */
static bool is_pointed(const uint8_t *nucleus)
{
    struct area area = area_of(nucleus);
    if (!is_one_sided(&area))
        return false;
    int longer = abs(area.x) > abs(area.y) ? abs(area.x) : abs(area.y);
    for (int step = 1; step < RADIUS; step++) {
        int x = sign(area.x) * ((2 * step * abs(area.x) + longer) / (2 * longer));
        int y = sign(area.y) * ((2 * step * abs(area.y) + longer) / (2 * longer));
        if (similarity(nucleus[y * width + x], *nucleus) < SAME / 2)
            return false;
    }
    return true;
}

static void smooth(const uint8_t *given, uint8_t *smoothed)
{
    memcpy(smoothed, given, pixel_count);
    for (int i = 0; i < inner_count; i++)
        smoothed[inner[i]] = smooth_pixel(&given[inner[i]]);
}

static void find_edges(const uint8_t *given, uint16_t *edges)
{
    for (int i = 0; i < inner_count; i++) {
        int size = area_size(&given[inner[i]]);
        response[inner[i]] = (uint16_t)(size < EDGE_AREA ? EDGE_AREA - size : 0);
    }
    for (int i = 0; i < inner_count; i++) {
        int pixel = inner[i];
        edges[pixel] = response[pixel] && is_edge(&given[pixel], &response[pixel]) ? response[pixel] : 0;
    }
}

static void find_corners(const uint8_t *given, uint16_t *corners)
{
    for (int i = 0; i < inner_count; i++) {
        const uint8_t *nucleus = &given[inner[i]];
        int size = area_size(nucleus);
        response[inner[i]] = (uint16_t)(size < CORNER_AREA && is_pointed(nucleus) ? CORNER_AREA - size : 0);
    }
    for (int i = 0; i < inner_count; i++) {
        int pixel = inner[i];
        corners[pixel] = is_highest(&response[pixel], 2) ? response[pixel] : 0;
    }
}

static void find_features(const uint8_t *given, struct features *found)
{
    smooth(given, found->smooth);
    find_edges(given, found->edges);
    find_corners(given, found->corners);
}

static bool is_inside(int x, int y)
{
    return x >= 0 && x < width && y >= 0 && y < height;
}

/* A rectangle or the ellipse within it. */
static void draw_shape(uint32_t *state)
{
    int half_width = 4 + (int)random_below(state, (uint32_t)width / 8);
    int half_height = 4 + (int)random_below(state, (uint32_t)height / 8);
    int middle_x = (int)random_below(state, (uint32_t)width);
    int middle_y = (int)random_below(state, (uint32_t)height);
    uint8_t brightness = (uint8_t)(16 + random_below(state, 224));
    bool is_ellipse = random_below(state, 2);
    for (int y = -half_height; y <= half_height; y++)
        for (int x = -half_width; x <= half_width; x++) {
            int across = x * half_height, down = y * half_width, reach = half_width * half_height;
            bool in_ellipse = across * across + down * down <= reach * reach;
            if (is_inside(middle_x + x, middle_y + y) && (in_ellipse || !is_ellipse))
                image[(middle_y + y) * width + middle_x + x] = brightness;
        }
}

static void set_dimensions(int new_width, int new_height)
{
    width = new_width;
    height = new_height;
    pixel_count = (size_t)width * (size_t)height;
    make_mask();
    inner_count = 0;
    for (int y = RADIUS; y < height - RADIUS; y++)
        for (int x = RADIUS; x < width - RADIUS; x++)
            inner[inner_count++] = y * width + x;
}

static void setup(enum workload_size size, uint32_t seed)
{
    if (size == SMALL)
        set_dimensions(SMALL_WIDTH, SMALL_HEIGHT);
    else
        set_dimensions(LARGE_WIDTH, LARGE_HEIGHT);
    make_tables();
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            image[y * width + x] = (uint8_t)(64 + 64 * x / width + 64 * y / height);
    for (int i = 0; i < SHAPES; i++)
        draw_shape(&seed);
    for (int i = 0; i < width * height; i++)
        image[i] = (uint8_t)(image[i] + random_below(&seed, 9) - 4); /* noise */
}

static uint64_t iterate(void)
{
    find_features(image, &answer);
    uint64_t digest = digest_bytes(DIGEST_START, answer.smooth, pixel_count);
    for (int i = 0; i < inner_count; i++)
        digest = digest_u32(digest, (uint32_t)answer.edges[inner[i]] << 16 | answer.corners[inner[i]]);
    return digest;
}

static void check_flat_image(void)
{
    memset(test_image, 128, pixel_count);
    find_features(test_image, &test_answer);
    for (int i = 0; i < width * height; i++)
        if (test_answer.smooth[i] != 128 || test_answer.edges[i] || test_answer.corners[i])
            workload_wrong("a flat image has an edge or a corner at %d, %d, or is not flat when smoothed.",
                           i % width, i / width);
}

/* Nothing around a lone pixel is like it: it is taken for noise and replaced. */
static void check_lone_pixel(void)
{
    memset(test_image, 128, pixel_count);
    test_image[height / 2 * width + width / 2] = 255;
    smooth(test_image, test_answer.smooth);
    for (int i = 0; i < width * height; i++)
        if (test_answer.smooth[i] != 128)
            workload_wrong("smoothing has left a trace of a lone pixel at %d, %d.", i % width, i / width);
}

/* A bright rectangle has its four corners only, and edges on all of its outline and at most one pixel outside of it. */
static void check_rectangle(void)
{
    int left = width / 4, right = 3 * width / 4, top = height / 4, bottom = 3 * height / 4;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            test_image[y * width + x] = x >= left && x <= right && y >= top && y <= bottom ? 200 : 50;
    find_features(test_image, &test_answer);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            bool around = x >= left - 1 && x <= right + 1 && y >= top - 1 && y <= bottom + 1;
            bool covered = x >= left && x <= right && y >= top && y <= bottom;
            bool within = x > left && x < right && y > top && y < bottom;
            bool corner = (x == left || x == right) && (y == top || y == bottom);
            bool corner_found = test_answer.corners[y * width + x], edge_found = test_answer.edges[y * width + x];
            if (corner_found != corner || (edge_found && (!around || within)) || (!edge_found && covered && !within))
                workload_wrong("of a rectangle, the pixel %d, %d is wrongly said to be %s corner and %s edge.",
                               x, y, corner_found ? "a" : "no", edge_found ? "an" : "no");
        }
}

static void check_mirror_image(void)
{
    for (int i = 0; i < width * height; i++)
        test_image[i - i % width + width - 1 - i % width] = image[i];
    find_features(test_image, &test_answer);
    for (int i = 0; i < width * height; i++) {
        int mirrored = i - i % width + width - 1 - i % width;
        if (answer.smooth[i] != test_answer.smooth[mirrored] || answer.edges[i] != test_answer.edges[mirrored] ||
            answer.corners[i] != test_answer.corners[mirrored])
            workload_wrong("the answer at %d, %d is not that of the mirror image.", i % width, i / width);
    }
}

/* Images whose answer is known need not be large. */
static void check_known_images(void)
{
    int own_width = width, own_height = height;
    memset(&test_answer, 0, sizeof test_answer); /* nothing is ever found at the border, which is elsewhere now */
    memset(response, 0, sizeof response);
    set_dimensions(SMALL_WIDTH, SMALL_HEIGHT);
    check_flat_image();
    check_lone_pixel();
    check_rectangle();
    memset(response, 0, sizeof response);
    set_dimensions(own_width, own_height);
}

static void check(void)
{
    check_mirror_image();
    check_known_images();
}

int main(int argc, char **argv)
{
    static const struct workload workload = {
        .name = "susan",
        .summary = "Smooths a greyscale image and finds its edges and corners by the SUSAN principle. Checks itself with\n"
                   "a flat image, a lone pixel, a rectangle and the mirror image.",
        .inputs = {"64 x 48 pixels", "320 x 240 pixels"},
        .setup = setup,
        .iterate = iterate,
        .check = check,
        .known = {UINT64_C(0xf095afe7d0e327c4), UINT64_C(0x8330caa97c1be439)},
    };
    return workload_main(&workload, argc, argv);
}
