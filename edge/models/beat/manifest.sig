{
 "algorithm": "ed25519",
 "key_id": "9162ff42cc663fa4",
 "signature": "SnRCmUvdjVBqODkjND79qNimmSU56hrB9USn4od0HiMRFA9++XK0y0HW2G2XLcvoY7EexAytZdLCShLVkJ6yAQ=="
}
