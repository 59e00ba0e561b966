{
 "algorithm": "ed25519",
 "key_id": "9162ff42cc663fa4",
 "signature": "5n99tTtRd8u/YqIQ+JSERWcs+rM6N54vwNK8WJxW96E2OIfg9av46VwCg/3AnPMWWxXIqklkhdTDDN/Su7soAw=="
}
