/* The steps of container version 3 in C: what entropy/steps.py, walk.py, flags.py and steps.py say.

   C99 without Python's headers, called by compiled.py, so that one library serves any Python.
   The caller checks sizes and that data do not end in a zero byte; else data may be from anywhere.
   Sums are of integers that the prior's bounds keep below 2**24, which float holds exactly. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FINE, NO_MEMORY, BEYOND, FORM, LEFT, FLAG }; /* results, for which compiled.py has words */
enum { INTRA, MEAN, INTER, INTER_MEAN };             /* kinds of weights */
enum { PASSES = 3, NEIGHBOURS = 9, LANES = 8, MAX_SYMBOL = 32767, MAX_MEAN_INPUT = 1023 };
enum { TABLE_BITS = 16, CODER_BITS = 24, WORD_BYTES = 4, DIGIT_BITS = 3, MAX_ESCAPE_BITS = 33 };

typedef struct {
    const uint32_t *cdf; /* (count, row) */
    const int32_t *length, *offset;
    int32_t count, row;
} Tables;

typedef struct {
    const uint8_t *lut;
    const int32_t *ends;           /* of the chunks */
    const int16_t *const *weights; /* by kind, chunk and pass, NULL where there are none: rows of n
                                      columns, padded to whole LANES */
    const uint16_t *bits;          /* (tables.count, tables.row) of bins, the last column: others */
    Tables tables, changes, modes;
    int32_t num_chunks, num_channels;
} Prior;

/* Arrays by place, row by row from the upper left, channels last. */
typedef struct {
    int32_t h, w, num_channels;
    const int32_t *bias, *inter_bias; /* (PASSES, the prior's channels) at the frame's quality */
    const int32_t *there;             /* channels that the reference has */
    const int32_t *fineness;          /* in 1/256 of a quality */
    const uint8_t *before;            /* what changed in the reference */
    uint8_t *changed, *alone;
    const int32_t *reference; /* symbols at the frame's quality; NULL: an intra frame */
    int32_t *symbols;
} Frame;

typedef struct {
    uint8_t *data;
    size_t size;
} Section;

/* ---- symbols <-> data: entropy/ans.py, entropy/steps.py */

typedef struct {
    uint32_t low, size; /* of 2**CODER_BITS */
} Interval;

typedef struct {
    int decodes;
    uint64_t state;   /* of a decoder */
    Section left;     /* what it has not taken yet */
    Interval *stack;  /* of an encoder: all wait for the end */
    size_t count, room;
} Coder;

/* Of the largest step. */
typedef struct {
    uint16_t *tables;
    int32_t *values, *bases, *order, *starts, *escaped;
    int64_t *distances; /* of those that escaped */
} Scratch;

static void fill(Coder *coder)
{
    while (coder->state >> 32 == 0 && coder->left.size) {
        size_t bytes = (coder->left.size - 1) % WORD_BYTES + 1;
        uint32_t word = 0;
        coder->left.size -= bytes;
        for (size_t i = 0; i < bytes; i++)
            word |= (uint32_t)coder->left.data[coder->left.size + i] << 8 * i;
        coder->state = coder->state << 32 | word;
    }
}

static uint32_t low_bits(const Coder *coder)
{
    return coder->state & ((1u << CODER_BITS) - 1);
}

static void code_interval(Coder *coder, uint32_t low, uint32_t size)
{
    if (coder->decodes) {
        coder->state = (coder->state >> CODER_BITS) * size + low_bits(coder) - low;
        fill(coder);
    } else {
        coder->stack[coder->count++] = (Interval){low, size};
    }
}

static int make_room(Coder *coder, size_t more)
{
    if (coder->decodes || coder->room - coder->count >= more)
        return FINE;
    size_t room = 2 * coder->room + more;
    Interval *larger = realloc(coder->stack, room * sizeof *larger);
    if (!larger)
        return NO_MEMORY;
    coder->stack = larger;
    coder->room = room;
    return FINE;
}

static void begin(Coder *coder, const Section *section)
{
    coder->state = coder->count = 0;
    if (coder->decodes) {
        coder->left = *section;
        fill(coder);
    }
}

/* Check that nothing is left, or give the data. */
static int finish(Coder *coder, Section *section)
{
    if (coder->decodes)
        return coder->state || coder->left.size ? LEFT : FINE;
    uint64_t state = 0;
    uint8_t *data = malloc(WORD_BYTES * coder->count + sizeof state);
    if (!data)
        return NO_MEMORY;
    size_t size = 0;
    while (coder->count) {
        Interval next = coder->stack[--coder->count];
        if (state >> (64 - CODER_BITS) >= next.size)
            for (int i = 0; i < WORD_BYTES; i++, state >>= 8)
                data[size++] = (uint8_t)state;
        state = state / next.size << CODER_BITS | (next.low + state % next.size);
    }
    for (; state; state >>= 8)
        data[size++] = (uint8_t)state;
    while (size && !data[size - 1])
        size--;
    *section = (Section){data, size};
    return FINE;
}

/* A bin of a table, given or found; then the given one is where to look first. */
static int32_t code_bin(Coder *coder, const uint32_t *cdf, int32_t num_bins, int32_t bin)
{
    const int shift = CODER_BITS - TABLE_BITS;
    if (coder->decodes) {
        uint32_t found = low_bits(coder) >> shift;
        int32_t beyond = num_bins, middle = bin;
        for (bin = 0; beyond - bin > 1; middle = (bin + beyond) / 2) {
            if (cdf[middle + 1] <= found)
                bin = middle + 1;
            else if (cdf[middle] > found)
                beyond = middle;
            else
                bin = middle, beyond = middle + 1;
        }
    }
    code_interval(coder, cdf[bin] << shift, (cdf[bin + 1] - cdf[bin]) << shift);
    return bin;
}

/* The values of `count` escapes, in rounds of digits; what is found becomes a symbol. */
static int code_escapes(Coder *coder, const Tables *tables, const Scratch *s, size_t count)
{
    const uint32_t radix = 1u << DIGIT_BITS, unit = 1u << (CODER_BITS - DIGIT_BITS - 1);
    for (int shift = 0; count; shift += DIGIT_BITS) {
        size_t going_on = 0;
        if (shift > MAX_ESCAPE_BITS)
            return BEYOND;
        if (make_room(coder, count))
            return NO_MEMORY;
        for (size_t k = 0; k < count; k++) {
            int32_t i = s->escaped[k], table = s->tables[i];
            int64_t distance = s->distances[k], rest = distance >> shift;
            uint32_t digit = rest < radix ? (uint32_t)rest : radix | (uint32_t)(rest % radix);
            if (coder->decodes)
                digit = low_bits(coder) / unit;
            code_interval(coder, digit * unit, unit);
            if (coder->decodes) {
                distance |= (int64_t)(digit % radix) << shift;
                if (shift && !digit)
                    return FORM;
            }
            if (digit >= radix) {
                s->escaped[going_on] = i;
                s->distances[going_on++] = distance;
            } else if (coder->decodes) {
                int64_t first = tables->offset[table], num_symbols = tables->length[table] - 2;
                int64_t symbol = first + (distance & 1 ? -1 - distance / 2
                                                       : num_symbols + distance / 2);
                if (symbol < INT32_MIN || symbol > INT32_MAX)
                    return BEYOND;
                s->values[i] = (int32_t)symbol;
            }
        }
        count = going_on;
    }
    return FINE;
}

/* A step: `count` values by the table of each, given or found. */
static int code_step(Coder *coder, const Tables *tables, const Scratch *s, int32_t count)
{
    memset(s->starts, 0, (tables->count + 1) * sizeof *s->starts);
    for (int32_t i = 0; i < count; i++)
        s->starts[s->tables[i] + 1]++;
    for (int32_t table = 0; table < tables->count; table++)
        s->starts[table + 1] += s->starts[table];
    for (int32_t i = 0; i < count; i++)
        s->order[s->starts[s->tables[i]]++] = i;
    if (make_room(coder, count))
        return NO_MEMORY;
    size_t escapes = 0;
    for (int32_t k = 0; k < count; k++) {
        int32_t i = s->order[k], table = s->tables[i], escape = tables->length[table] - 2;
        int64_t from = (int64_t)s->values[i] - tables->offset[table]; /* the first bin */
        int32_t bin = from < 0 || from > escape ? escape : (int32_t)from;
        bin = code_bin(coder, tables->cdf + (size_t)table * tables->row, escape + 1, bin);
        if (bin == escape) {
            int64_t distance = from < 0 ? -2 * from - 1 : 2 * (from - escape);
            s->escaped[escapes] = i;
            s->distances[escapes++] = coder->decodes ? 0 : distance;
        } else {
            s->values[i] = bin + tables->offset[table];
        }
    }
    return code_escapes(coder, tables, s, escapes);
}

/* ---- what a step is coded from: prior.py, walk.py */

typedef struct {
    float magnitude, held; /* held to +-MAX_MEAN_INPUT */
    int32_t channel;
} Entry;

/* Of each place what is not zero, by channel: little is not. */
typedef struct {
    Entry *entries; /* (places, channels) */
    int32_t *count; /* of R -1 until it is needed: where little changes, much never is */
} Sparse;

typedef struct {
    const Prior *prior;
    const Frame *frame;
    Sparse known, lost, reference; /* N of places that are coded, D, R */
    int32_t *places;               /* of the step */
    Scratch scratch;
    void *memory[16];
    int num_memory;
} Walk;

typedef struct {
    int32_t chunk, pass, a, b, n; /* n channels, a to b - 1 */
} Step;

static int is_coded(const Frame *frame, int32_t place)
{
    return !frame->reference || frame->changed[place];
}

static void append(const Walk *walk, const Sparse *to, int32_t place, int32_t channel, int32_t value)
{
    if (!value)
        return;
    int32_t size = value < 0 ? -value : value, held = size < MAX_MEAN_INPUT ? size : MAX_MEAN_INPUT;
    float magnitude = walk->prior->lut[size < 255 ? size : 255];
    to->entries[(size_t)place * walk->frame->num_channels + to->count[place]++] =
        (Entry){magnitude, (float)(value < 0 ? -held : held), channel};
}

/* Tell the symbols a to b - 1 of a place that is coded; those below are told. */
static void put(const Walk *walk, int32_t place, int32_t a, int32_t b)
{
    const Frame *frame = walk->frame;
    size_t at = (size_t)place * frame->num_channels;
    for (int32_t c = a; c < b; c++) {
        append(walk, &walk->known, place, c, frame->symbols[at + c]);
        if (frame->reference && c < frame->there[place])
            append(walk, &walk->lost, place, c, frame->symbols[at + c] - frame->reference[at + c]);
    }
}

static void *take_memory(Walk *walk, size_t count, size_t size)
{
    void *memory = count < SIZE_MAX / size ? malloc((count + 1) * size) : NULL;
    walk->memory[walk->num_memory++] = memory;
    return memory;
}

static int make_sparse(Walk *walk, Sparse *sparse, size_t places, int32_t count)
{
    sparse->entries = take_memory(walk, places * walk->frame->num_channels, sizeof(Entry));
    sparse->count = take_memory(walk, places, sizeof(int32_t));
    for (size_t place = 0; sparse->count && place < places; place++)
        sparse->count[place] = count;
    return sparse->entries && sparse->count ? FINE : NO_MEMORY;
}

static void end_walk(Walk *walk)
{
    while (walk->num_memory)
        free(walk->memory[--walk->num_memory]);
}

/* What every step and the flags need. */
static int begin_scratch(Walk *walk, const Prior *prior, const Frame *frame)
{
    *walk = (Walk){.prior = prior, .frame = frame};
    size_t places = (size_t)frame->h * frame->w, widest = 1, tables = prior->tables.count;
    for (int32_t k = 0, a = 0; k < prior->num_chunks; a = prior->ends[k++])
        if ((size_t)(prior->ends[k] - a) > widest)
            widest = prior->ends[k] - a;
    if ((size_t)prior->changes.count > tables)
        tables = prior->changes.count;
    Scratch *s = &walk->scratch;
    s->tables = take_memory(walk, places * widest, sizeof *s->tables);
    s->values = take_memory(walk, places * widest, sizeof *s->values);
    s->bases = take_memory(walk, places * widest, sizeof *s->bases);
    s->order = take_memory(walk, places * widest, sizeof *s->order);
    s->escaped = take_memory(walk, places * widest, sizeof *s->escaped);
    s->distances = take_memory(walk, places * widest, sizeof *s->distances);
    s->starts = take_memory(walk, tables, sizeof *s->starts);
    walk->places = take_memory(walk, places, sizeof *walk->places);
    return s->tables && s->values && s->bases && s->order && s->escaped && s->distances &&
                   s->starts && walk->places
               ? FINE
               : NO_MEMORY;
}

/* Known are the channels below `start`, and all of places that are not coded. */
static int begin_walk(Walk *walk, const Prior *prior, const Frame *frame, int32_t start)
{
    int32_t places = frame->h * frame->w, M = frame->num_channels;
    if (begin_scratch(walk, prior, frame) || make_sparse(walk, &walk->known, places, 0))
        return NO_MEMORY;
    if (frame->reference && (make_sparse(walk, &walk->lost, places, 0) ||
                             make_sparse(walk, &walk->reference, places, -1)))
        return NO_MEMORY;
    for (int32_t place = 0; place < places; place++) {
        size_t at = (size_t)place * M;
        if (is_coded(frame, place))
            put(walk, place, 0, start);
        else
            memcpy(frame->symbols + at, frame->reference + at, M * sizeof *frame->symbols);
    }
    return FINE;
}

static int next_step(const Walk *walk, Step *step, int32_t start, int32_t end)
{
    const int32_t *ends = walk->prior->ends;
    for (step->pass++; step->chunk < walk->prior->num_chunks; step->chunk++, step->pass = 0) {
        step->a = step->chunk ? ends[step->chunk - 1] : 0;
        step->b = ends[step->chunk];
        step->n = step->b - step->a;
        if (step->a >= start && step->b <= end && step->pass < (step->chunk ? 2 : PASSES))
            return 1;
    }
    return 0;
}

/* How many places of a step are coded, and their numbers. */
static int32_t find_places(const Walk *walk, Step step)
{
    int32_t count = 0;
    for (int32_t place = 0, y = 0; y < walk->frame->h; y++)
        for (int32_t x = 0; x < walk->frame->w; x++, place++) {
            int odd = (y + x) % 2, pass = step.chunk ? odd : odd ? 2 : y % 2;
            if (pass == step.pass && is_coded(walk->frame, place))
                walk->places[count++] = place;
        }
    return count;
}

/* The number of each of the 3 x 3 places around; -1: outside. */
static void find_neighbours(const Frame *frame, int32_t place, int32_t neighbours[NEIGHBOURS])
{
    for (int32_t i = 0; i < NEIGHBOURS; i++) {
        int32_t y = place / frame->w + i / 3 - 1, x = place % frame->w + i % 3 - 1;
        int is_inside = y >= 0 && y < frame->h && x >= 0 && x < frame->w;
        neighbours[i] = is_inside ? y * frame->w + x : -1;
    }
}

static const int16_t *weights_of(const Walk *walk, int kind, Step step)
{
    return walk->prior->weights[(kind * walk->prior->num_chunks + step.chunk) * PASSES + step.pass];
}

typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));
typedef float Floats __attribute__((vector_size(4 * LANES))); /* of GCC and Clang, anywhere */

static inline void add_row(Floats *sums, const int16_t *weights, float factor)
{
    Shorts row;
    memcpy(&row, weights, sizeof row);
    *sums += __builtin_convertvector(row, Floats) * factor;
}

/* Symbols of a step at a place, alone or as differences to R. */
typedef struct {
    Step step;
    int32_t place;
    int differs;
    int32_t neighbours[NEIGHBOURS];
} Target;

static Target aim(const Walk *walk, Step step, int32_t place, int differs)
{
    const Frame *frame = walk->frame;
    Target target = {.step = step, .place = place, .differs = differs};
    find_neighbours(frame, place, target.neighbours);
    for (int32_t i = 0; frame->reference && i < NEIGHBOURS; i++) {
        int32_t other = target.neighbours[i];
        if (other < 0 || walk->reference.count[other] >= 0)
            continue;
        walk->reference.count[other] = 0;
        for (int32_t c = 0; c < frame->num_channels; c++)
            append(walk, &walk->reference, other, c,
                   frame->reference[(size_t)other * frame->num_channels + c]);
    }
    return target;
}

/* Add to sums and means of LANES channels what the channels a to b - 1 of a place give, by rows of
   weights; those of means may be NULL. */
static inline void add(const Walk *walk, const Sparse *of, int32_t place, int32_t a, int32_t b,
                       size_t row, const int16_t *weights, Floats *sums, const int16_t *of_mean,
                       Floats *means)
{
    const Entry *entry = of->entries + (size_t)place * walk->frame->num_channels;
    const Entry *end = entry + of->count[place];
    while (entry < end && entry->channel < a)
        entry++;
    for (; entry < end && entry->channel < b; entry++) {
        size_t at = (entry->channel - a) * row;
        add_row(sums, weights + at, entry->magnitude);
        if (of_mean)
            add_row(means, of_mean + at, entry->held);
    }
}

/* The tables and means of a target's n symbols. */
static void predict(const Walk *walk, const Target *target, uint16_t *tables, int32_t *means)
{
    const Frame *frame = walk->frame;
    Step step = target->step;
    int32_t a = step.a, b = step.b, n = step.n, differs = target->differs;
    size_t row = (n + LANES - 1) / LANES * LANES; /* padded */
    size_t rows = differs ? 2 * b + n + 1 : b;    /* of a neighbour */
    const int16_t *weights = weights_of(walk, differs ? INTER : INTRA, step);
    const int16_t *of_mean = weights_of(walk, differs ? INTER_MEAN : MEAN, step);
    const int32_t *bias = differs ? frame->inter_bias : frame->bias;
    for (int32_t j = 0; j < n; j += LANES) {
        Floats sums = {0}, mean = {0};
        for (int32_t i = 0; i < NEIGHBOURS; i++) {
            int32_t other = target->neighbours[i];
            const int16_t *here = weights + i * rows * row + j;
            const int16_t *mean_here = of_mean ? of_mean + i * b * row + j : NULL;
            if (other < 0)
                continue;
            const Sparse *known = is_coded(frame, other) ? &walk->known : &walk->reference;
            if (!differs) {
                add(walk, known, other, 0, b, row, here, &sums, mean_here, &mean);
                continue;
            }
            add(walk, known, other, 0, b, row, here, &sums, NULL, NULL);
            here += b * row;
            add(walk, &walk->lost, other, 0, b, row, here, &sums, mean_here, &mean);
            here += b * row;
            add(walk, &walk->reference, other, a, b, row, here, &sums, NULL, NULL);
            if (frame->changed[other])
                add_row(&sums, here + n * row, 1);
        }
        if (differs) {
            int32_t finer = frame->fineness[target->place] / 16;
            finer = finer < 0 ? 0 : finer > 127 ? 127 : finer;
            add_row(&sums, weights + NEIGHBOURS * rows * row + j, (float)finer);
        }
        for (int32_t k = 0; k < LANES && j + k < n; k++) {
            int32_t sum = (int32_t)sums[k] + bias[step.pass * walk->prior->num_channels + a + j + k];
            int32_t scale = sum < 0 ? 0 : sum >> 12;
            /* eighths counted from -4; raised before they are shifted, for what a shift makes of
               numbers below zero is the compiler's choice */
            int32_t eighths = ((int32_t)mean[k] + 64 + (4 << 7) + (1 << 24)) >> 7;
            tables[j + k] = (uint16_t)(8 * (scale < 47 ? scale : 47) + (eighths & 7));
            means[j + k] = (eighths >> 3) - (1 << 14);
        }
    }
}

static int has_reference(const Walk *walk, Step step, int32_t place)
{
    return walk->frame->reference && walk->frame->there[place] >= step.b &&
           weights_of(walk, INTER, step);
}

/* ---- sections and flags: steps.py, flags.py */

/* The channels from `start` to `end` of all places that are coded. */
static int code_group(Walk *walk, Coder *coder, int32_t start, int32_t end)
{
    const Frame *frame = walk->frame;
    const Scratch *s = &walk->scratch;
    for (Step step = {.pass = -1}; next_step(walk, &step, start, end);) {
        int32_t count = find_places(walk, step), n = step.n;
        for (int32_t k = 0; k < count; k++) {
            int32_t place = walk->places[k], from = k * n;
            size_t at = (size_t)place * frame->num_channels + step.a;
            int differs = has_reference(walk, step, place) && !frame->alone[place];
            Target target = aim(walk, step, place, differs);
            predict(walk, &target, s->tables + from, s->bases + from);
            for (int32_t j = 0; j < n; j++) {
                s->bases[from + j] += differs ? frame->reference[at + j] : 0;
                s->values[from + j] =
                    coder->decodes ? 0 : frame->symbols[at + j] - s->bases[from + j];
            }
        }
        int result = code_step(coder, &walk->prior->tables, s, count * n);
        if (result)
            return result;
        for (int32_t k = 0; k < count; k++) {
            size_t at = (size_t)walk->places[k] * frame->num_channels + step.a;
            for (int32_t j = 0; j < n; j++) {
                int64_t symbol = (int64_t)s->values[k * n + j] + s->bases[k * n + j];
                if (symbol < -MAX_SYMBOL || symbol > MAX_SYMBOL)
                    return BEYOND;
                frame->symbols[at + j] = (int32_t)symbol;
            }
            put(walk, walk->places[k], step.a, step.b);
        }
    }
    return FINE;
}

/* Of the 3 x 3 places around one, or of its four neighbours, how many changed. */
static int32_t count_changed(const Frame *frame, const uint8_t *changed, int32_t place, int all)
{
    int32_t neighbours[NEIGHBOURS], count = 0;
    find_neighbours(frame, place, neighbours);
    for (int32_t i = 0; i < NEIGHBOURS; i++)
        if (neighbours[i] >= 0 && (all || i % 2))
            count += changed[neighbours[i]];
    return count;
}

static int code_flags(Walk *walk, Coder *coder)
{
    const Frame *frame = walk->frame;
    const Scratch *s = &walk->scratch;
    for (int step = 0; step < 3; step++) { /* even places, odd ones; modes */
        int is_mode = step == 2;
        uint8_t *flags = is_mode ? frame->alone : frame->changed;
        int32_t count = 0;
        for (int32_t place = 0; place < frame->h * frame->w; place++) {
            if (is_mode ? !frame->changed[place]
                        : (place / frame->w + place % frame->w) % 2 != step)
                continue;
            int32_t table = step ? count_changed(frame, frame->changed, place, 0) : 5;
            if (!is_mode)
                table += 6 * (10 * (frame->fineness[place] > 0) +
                              count_changed(frame, frame->before, place, 1));
            s->tables[count] = (uint16_t)table;
            s->values[count] = flags[place];
            walk->places[count++] = place;
        }
        const Tables *tables = is_mode ? &walk->prior->modes : &walk->prior->changes;
        int result = code_step(coder, tables, s, count);
        if (result)
            return result;
        for (int32_t k = 0; k < count; k++) {
            if (s->values[k] < 0 || s->values[k] > 1)
                return FLAG;
            flags[walk->places[k]] = (uint8_t)s->values[k];
        }
    }
    return FINE;
}

/* ---- what compiled.py calls. Data that are given are for slim_free. */

/* The CRC-32 of this file, which the build gives: a library of another one is not taken. */
uint32_t slim_source(void)
{
    return SOURCE_CRC32;
}

void slim_free(void *data)
{
    free(data);
}

/* The data of `changed` and `alone`, or from them those, which are zeros so far. */
int slim_code_flags(const Prior *prior, const Frame *frame, int decodes, Section *section)
{
    Walk walk;
    Coder coder = {.decodes = decodes};
    int result = begin_scratch(&walk, prior, frame);
    if (!result) {
        begin(&coder, section);
        result = code_flags(&walk, &coder);
    }
    if (!result)
        result = finish(&coder, section);
    free(coder.stack);
    end_walk(&walk);
    return result;
}

/* The data of `count` sections, each up to a channel of `ends`, or from them the symbols, which are
   zeros so far. Of the channels below `start` the reader has the symbols. */
int slim_code(const Prior *prior, const Frame *frame, int decodes, Section *sections, int32_t count,
              int32_t start, const int32_t *ends)
{
    Walk walk;
    Coder coder = {.decodes = decodes};
    int result = begin_walk(&walk, prior, frame, start);
    for (int32_t i = 0; i < count && !result; start = ends[i++]) {
        begin(&coder, sections + i);
        result = code_group(&walk, &coder, start, ends[i]);
        if (!result)
            result = finish(&coder, sections + i);
    }
    free(coder.stack);
    end_walk(&walk);
    return result;
}

static int64_t bits_of(const Prior *prior, int32_t table, int64_t value)
{
    int64_t bin = value - prior->tables.offset[table], last = prior->tables.row - 1;
    return prior->bits[table * (last + 1) + (bin < 0 || bin > last ? last : bin)];
}

/* Find `alone`, which are ones so far: whether the symbols of a place take fewer bits so. */
int slim_choose(const Prior *prior, const Frame *frame)
{
    Walk walk;
    int64_t *saved = calloc((size_t)frame->h * frame->w + 1, sizeof *saved); /* by differences */
    int result = begin_walk(&walk, prior, frame, 0);
    if (!saved)
        result = NO_MEMORY;
    for (Step step = {.pass = -1}; !result && next_step(&walk, &step, 0, frame->num_channels);) {
        int32_t count = find_places(&walk, step), *means = walk.scratch.values;
        uint16_t *tables = walk.scratch.tables;
        for (int32_t k = 0; k < count; k++) {
            Target target = aim(&walk, step, walk.places[k], 0);
            size_t at = (size_t)target.place * frame->num_channels + step.a;
            if (!has_reference(&walk, step, target.place))
                continue;
            for (; target.differs < 2; target.differs++) {
                predict(&walk, &target, tables, means);
                for (int32_t j = 0; j < step.n; j++) {
                    int32_t value = frame->symbols[at + j] - means[j];
                    if (target.differs)
                        saved[target.place] -=
                            bits_of(prior, tables[j], value - frame->reference[at + j]);
                    else
                        saved[target.place] += bits_of(prior, tables[j], value);
                }
            }
            frame->alone[target.place] = saved[target.place] < 0;
        }
        for (int32_t k = 0; k < count; k++)
            put(&walk, walk.places[k], step.a, step.b);
    }
    free(saved);
    end_walk(&walk);
    return result;
}
