/*! @file
 * Samples kept while the link is down, found again when the host asks for what it lost (PROTOCOL.md, R14).
 *
 * A ring of blocks of one stream, in RAM or in flash.  Each block is kept with the sequence and ticks it was taken
 * with; when there is no room the oldest blocks make way and are counted.  A store lives as long as a boot: with a new
 * boot the counters start over and older samples mean nothing, so it starts empty and needs no repair after a power
 * failure.
 *
 *   static uint8_t memory[FB_STORE_BYTES(60, 25, 1, 2)];                     // 60 blocks of 25 samples
 *   fb_store_init_ram(&store, memory, sizeof memory, 25, 1, 2);
 *   fb_store_put(&store, &block, bytes);
 *   fb_store_find(&store, first, count, &found);                             // repeat with what is left of count
 *   fb_store_read(&store, &found, 0, bytes, sizeof bytes);
 *
 * Thread safety: calls with one store must not overlap; the storage functions run within them.
 * Time: put writes one block (and erases one unit of flash every now and then); find reads 16 bytes about
 * log2(blocks) times.
 */
#ifndef FB_STORE_H
#define FB_STORE_H

#include "fb_common.h"

#ifdef __cplusplus
extern "C" {
#endif

/*! Bytes in front of the samples of each block. */
#define FB_STORE_HEAD_BYTES 16u
/*! Bytes of one block in the store. */
#define FB_STORE_BLOCK_BYTES(block_samples, n_channels, bytes_per_value) \
  (FB_STORE_HEAD_BYTES + (size_t)(block_samples) * (n_channels) * (bytes_per_value))
/*! Memory for `n_blocks` blocks. */
#define FB_STORE_BYTES(n_blocks, block_samples, n_channels, bytes_per_value) \
  ((size_t)(n_blocks) * FB_STORE_BLOCK_BYTES(block_samples, n_channels, bytes_per_value))

/*! Memory that is not simply addressed: flash, FRAM, a file.  The board supplies the functions.
 *
 * Each returns FB_OK or FB_FAILED.  `at` counts bytes from the start of the area that is the store's.
 */
typedef struct {
  fb_status_t (*read)(void *context, uint32_t at, uint8_t *data, size_t n_bytes);
  /*! Never written twice between two erasures; in order of addresses within an erase unit. */
  fb_status_t (*write)(void *context, uint32_t at, const uint8_t *data, size_t n_bytes);
  /*! Erase one unit; NULL where memory can be overwritten as it is. */
  fb_status_t (*erase)(void *context, uint32_t at, size_t n_bytes);
  void *context;        /*!< handed to all three; may be NULL */
  uint32_t size_bytes;  /*!< of the area; a multiple of erase_bytes */
  uint32_t erase_bytes; /*!< what one erasure clears; without `erase` any multiple of a block, or 0 for one block */
  uint16_t align_bytes; /*!< writes begin at a multiple of it: 1, 2, 4, 8 or 16; 0: anywhere.  The last bytes of
                             a write may be fewer: fill them up with 0xFF. */
} fb_storage_t;

/*! What a block is, but for its samples. */
typedef struct {
  uint32_t sequence;   /*!< number of the first sample, modulo 2^32 */
  uint32_t ticks;      /*!< the device's clock at the first sample */
  uint32_t last_ticks; /*!< and at the last */
  uint16_t n_samples;  /*!< 1 to the store's block_samples */
} fb_store_block_t;

/*! Stored samples that were found. */
typedef struct {
  uint32_t sequence;  /*!< number of the first */
  uint32_t ticks;     /*!< the device's clock at it, interpolated where it is not the first of its block */
  uint16_t n_samples; /*!< consecutive ones, all of one block */
  uint32_t at;        /*!< private: where they are */
} fb_store_found_t;

/*! A ring of blocks.  Read the counters; the other fields are private. */
typedef struct {
  fb_storage_t storage;
  uint8_t *memory; /* RAM; NULL: `storage` */
  uint32_t block_bytes;
  uint32_t unit_bytes; /* of storage that is erased together */
  uint32_t blocks_per_unit;
  uint32_t n_slots;
  uint32_t first; /* slot of the oldest block */
  uint32_t n_blocks;
  uint32_t oldest_sequence;
  uint32_t next_sequence; /* after the newest sample */
  uint16_t block_samples;
  uint8_t sample_bytes; /* all channels */
  uint32_t n_overwritten_blocks; /*!< that made way for newer ones */
  uint32_t n_failed_writes;      /*!< blocks lost because the storage failed */
} fb_store_t;

/*! Make an empty store in RAM.
 *
 * @param memory           of the caller, as long as the store lives; any alignment
 * @param n_bytes          FB_STORE_BYTES of at least one block
 * @param block_samples    most samples of one block, at least 1
 * @param n_channels       1 to 16
 * @param bytes_per_value  2 or 3
 * @return FB_OK, or FB_BAD_ARGUMENT
 */
fb_status_t fb_store_init_ram(fb_store_t *store, uint8_t *memory, size_t n_bytes, uint16_t block_samples,
                              uint8_t n_channels, uint8_t bytes_per_value);

/*! Make an empty store in `storage`, which is copied.  Flash is erased unit by unit as it comes to be used, never here.
 *
 * With `erase` the storage must have at least two units: the older blocks of a unit go all at once.
 *
 * @return FB_OK; FB_BAD_ARGUMENT, also where a block does not fit a unit
 */
fb_status_t fb_store_init(fb_store_t *store, const fb_storage_t *storage, uint16_t block_samples, uint8_t n_channels,
                          uint8_t bytes_per_value);

/*! Keep a block.
 *
 * @param block  must not begin among what is stored (modulo 2^32); in ascending order
 * @param data   its samples as on the wire: n_samples x n_channels x bytes_per_value bytes, little-endian
 * @return FB_OK, also where older blocks made way; FB_BAD_ARGUMENT; FB_FAILED where the storage failed: the store is
 *         then empty (what it held is counted as overwritten) and goes on with the next unit
 */
fb_status_t fb_store_put(fb_store_t *store, const fb_store_block_t *block, const uint8_t *data);

/*! Find the first stored samples among `count` from `first` on.
 *
 * @param first  number of a sample, modulo 2^32
 * @param count  samples asked for; at most 2^31 of them are looked at
 * @param found  only with FB_OK: the oldest of them that are there, of one block, cut to what was asked for
 * @return FB_OK; FB_EMPTY where none is there; FB_FAILED where the storage failed
 *
 * Go on with first = found.sequence + found.n_samples and the rest of the count.
 */
fb_status_t fb_store_find(const fb_store_t *store, uint32_t first, uint32_t count, fb_store_found_t *found);

/*! Read bytes of what was found, until the next put.
 *
 * @param offset   from the first byte of the first sample; in pieces of any length
 * @return FB_OK; FB_BAD_ARGUMENT past the end; FB_FAILED where the storage failed
 */
fb_status_t fb_store_read(const fb_store_t *store, const fb_store_found_t *found, size_t offset, uint8_t *out,
                          size_t n_bytes);

/*! Forget everything; counters stay. */
void fb_store_clear(fb_store_t *store);

#ifdef __cplusplus
}
#endif

#endif /* FB_STORE_H */
