// What a finished test run amounts to: counts, and the reasons for which it must not pass.

/**
 * Judges vitest's JSON report against the checked-in list of skips.
 *
 * @param report of vitest's `json` reporter
 * @param skips entries of test/skips.json: `{ title, reason }`, the title a regular expression on the test's full name
 * @param complete whether all tests were asked for; a part of them cannot tell that a listed skip has gone
 */
export function judge(report, skips, complete) {
  const tests = report.testResults.flatMap((file) => file.assertionResults)
  const withStatus = (...statuses) => tests.filter((test) => statuses.includes(test.status))
  const skipped = withStatus('pending', 'skipped', 'todo', 'disabled')
  // A file that cannot even be loaded has no tests to count, and is a failure all the same.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  )

  const allowed = skips.map(({ title, reason }) => ({ title, pattern: new RegExp(title), reason }))
  const complaints = [
    ...allowed.filter(({ reason }) => !reason).map(({ title }) => `test/skips.json gives no reason for: ${title}`),
    ...skipped
      .filter((test) => !allowed.some(({ pattern }) => pattern.test(test.fullName)))
      .map((test) => `skipped, and not in test/skips.json: ${test.fullName}`),
  ]
  if (complete) {
    for (const { title, pattern } of allowed) {
      if (!tests.some((test) => pattern.test(test.fullName)))
        complaints.push(`listed in test/skips.json, and no such test: ${title}`)
    }
    if (tests.length === 0) complaints.push('no test ran')
  }
  return {
    passed: withStatus('passed').length,
    failed: withStatus('failed').length + brokenFiles.length,
    skipped: skipped.length,
    complaints,
  }
}
