{
 "algorithm": "ed25519",
 "key_id": "9162ff42cc663fa4",
 "signature": "tx1ndpCVcz30ZhZbtHOO9C/+L18ayWTIE7HPXKxhPjD6pLitahJlpf2DIQTKKgaKuA3ZLoamTT7AzorcongrCg=="
}
